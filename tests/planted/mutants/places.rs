//! The places of a file where something can be changed, and what stands there then: what was there and the change, with a
//! switch between them.

use super::listed::{At, Kind, Mutant};
use std::collections::BTreeMap;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, Member, Pat, UnOp};

/// No part of it can stand alone.
const CHAIN: Place = Place::Never("a chain of let");

/// A place, as ranges of the file's bytes.
#[derive(Clone, Debug)]
enum Place {
    /// Begins there.
    Body(usize),
    Binary {
        whole: Range<usize>,
        operator: Range<usize>,
    },
    Unary {
        whole: Range<usize>,
        operand: Range<usize>,
    },
    /// Its pattern ends there.
    Arm(usize),
    Guard(Range<usize>),
    Field {
        /// Only its name stands there, as of a variable.
        short: bool,
        name: String,
        value: Range<usize>,
        /// An expression for what the field is without it.
        without: String,
    },
    /// Nothing can be planted here, and why.
    Never(&'static str),
}

/// Words around a range.
#[derive(Clone, Debug)]
pub struct Edit {
    pub at: Range<usize>,
    pub before: String,
    pub after: String,
}

/// The places of a file.
pub struct Places<'a> {
    text: &'a str,
    all: BTreeMap<(Kind, At), Place>,
}

impl<'a> Places<'a> {
    pub fn of(text: &'a str) -> syn::Result<Self> {
        let mut places = Self { text, all: BTreeMap::new() };
        places.visit_file(&syn::parse_file(text)?);
        Ok(places)
    }

    fn add(&mut self, kind: Kind, node: &(impl Spanned + ?Sized), place: Place) {
        let start = node.span().start();
        self.all.insert((kind, At { line: start.line, column: start.column + 1 }), place);
    }

    /// How a mutant is planted. `Err`: why it cannot be.
    pub fn edit(&self, mutant: &Mutant, number: usize) -> Result<Edit, &'static str> {
        let place = self.all.get(&(mutant.kind, mutant.at)).ok_or("nothing of the kind is found there")?;
        let planted = format!("crate::planted({number})");
        let replacement = &mutant.replacement;
        let edit = |at: Range<usize>, before: String, after: &str| Edit { at, before, after: after.into() };
        Ok(match place.clone() {
            // Beside it the function's own words would be of another type.
            Place::Body(_) if replacement.contains("::std::iter::") => {
                return Err("it returns some iterator");
            }
            Place::Body(at) => edit(at..at, format!(" if {planted} {{ return {replacement}; }}"), ""),
            Place::Binary { whole, operator } => {
                let (left, right) =
                    (&self.text[whole.start..operator.start], &self.text[operator.end..whole.end]);
                edit(whole, format!("(if {planted} {{ {left}{replacement}{right} }} else {{ "), " })")
            }
            Place::Unary { whole, operand } => {
                let operand = &self.text[operand];
                edit(whole, format!("(if {planted} {{ {operand} }} else {{ "), " })")
            }
            Place::Arm(at) => edit(at..at, format!(" if !{planted}"), ""),
            // Asked for only where the guard says otherwise.
            Place::Guard(at) if replacement == "true" => edit(at, "((".into(), &format!(") || {planted})")),
            Place::Guard(at) => edit(at, "((".into(), &format!(") && !{planted})")),
            Place::Field { short, name, value, without } => {
                let name = if short { format!("{name}: ") } else { String::new() };
                edit(value, format!("{name}if {planted} {{ {without} }} else {{ "), " }")
            }
            Place::Never(why) => return Err(why),
        })
    }
}

/// Whether a `let` is one of what `&&` and `||` join here.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Places<'_> {
    fn visit_block(&mut self, block: &'ast syn::Block) {
        if let Some(first) = block.stmts.first() {
            let at = block.brace_token.span.open().byte_range().end;
            self.add(Kind::FnValue, first, Place::Body(at));
        }
        visit::visit_block(self, block);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let place = if has_let(&binary.left) || has_let(&binary.right) {
            CHAIN
        } else {
            Place::Binary { whole: binary.span().byte_range(), operator: binary.op.span().byte_range() }
        };
        self.add(Kind::BinaryOperator, &binary.op, place);
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if matches!(unary.op, UnOp::Not(_) | UnOp::Neg(_)) {
            let (whole, operand) = (unary.span().byte_range(), unary.expr.span().byte_range());
            self.add(Kind::UnaryOperator, &unary.op, Place::Unary { whole, operand });
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_match(&mut self, whole: &'ast syn::ExprMatch) {
        let covers = |arm: &syn::Arm| arm.guard.is_none() && matches!(arm.pat, Pat::Wild(_));
        let is_covered = whole.arms.iter().any(covers);
        for arm in &whole.arms {
            let (kind, node, place): (_, &dyn Spanned, _) = match &arm.guard {
                Some((_, guard)) if has_let(guard) => (Kind::MatchArmGuard, guard, CHAIN),
                Some((_, guard)) => (Kind::MatchArmGuard, guard, Place::Guard(guard.span().byte_range())),
                None if is_covered => (Kind::MatchArm, arm, Place::Arm(arm.pat.span().byte_range().end)),
                None => (Kind::MatchArm, arm, Place::Never("no other arm takes over")),
            };
            self.add(kind, node, place);
        }
        visit::visit_expr_match(self, whole);
    }

    fn visit_expr_struct(&mut self, whole: &'ast syn::ExprStruct) {
        let base = whole.rest.as_deref();
        for (field, base) in whole.fields.iter().filter_map(|field| Some((field, base?))) {
            let Member::Named(name) = &field.member else { continue };
            let text = &self.text[base.span().byte_range()];
            let without = match base {
                // Takes that field alone; the others are still to be taken.
                Expr::Path(_) | Expr::Field(_) => format!("{text}.{name}"),
                // Says of what type the base is.
                _ => format!("({} {{ ..{text} }}).{name}", &self.text[whole.path.span().byte_range()]),
            };
            let place = Place::Field {
                short: field.colon_token.is_none(),
                name: name.to_string(),
                value: field.expr.span().byte_range(),
                without,
            };
            self.add(Kind::StructField, field, place);
        }
        visit::visit_expr_struct(self, whole);
    }
}
