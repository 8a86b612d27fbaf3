//! The API reference as Markdown, from the CustomResourceDefinition.

use super::crd::custom_resource_definition;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use std::fmt::Write;

/// Types of Kubernetes itself, documented there.
const KUBERNETES_TYPES: [&str; 2] = ["spec.compositor.tolerations", "status.conditions"];

/// Every field with its type, bounds and meaning, and every rule.
///
/// # Errors
/// Never in practice: writing to a string.
pub fn markdown() -> Result<String, std::fmt::Error> {
    let definition = custom_resource_definition();
    let mut text = String::from(
        "# API reference\n\nGenerated from the CustomResourceDefinition by `make crds`; do not edit.\n\n\
         `tributestream.com/v1alpha1`, kind `MemorialStream`, short name `mstream`, namespaced.\n",
    );
    let schemas = definition
        .spec
        .versions
        .iter()
        .filter_map(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    for schema in schemas {
        let mut rules = Vec::new();
        for part in ["spec", "status"] {
            let Some(fields) = schema.properties.as_ref().and_then(|properties| properties.get(part)) else {
                continue;
            };
            writeln!(text, "\n## `{part}`\n\n| field | type | meaning |\n| --- | --- | --- |")?;
            table(&mut text, part, fields, &mut rules)?;
        }
        collect_rules("", schema, &mut rules);
        writeln!(text, "\n## Rules at admission\n")?;
        for rule in rules {
            writeln!(text, "- {rule}")?;
        }
    }
    Ok(text)
}

fn table(
    text: &mut String,
    path: &str,
    schema: &JSONSchemaProps,
    rules: &mut Vec<String>,
) -> std::fmt::Result {
    collect_rules(path, schema, rules);
    if KUBERNETES_TYPES.contains(&path) {
        return Ok(());
    }
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        let meaning = field.description.as_deref().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        writeln!(text, "| `{path}` | {} | {meaning} |", kind(field))?;
        table(text, &path, field, rules)?;
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &field.items {
            table(text, &format!("{path}[]"), items, rules)?;
        }
    }
    Ok(())
}

fn kind(field: &JSONSchemaProps) -> String {
    let mut words = vec![field.type_.clone().unwrap_or_else(|| "value".into())];
    if let Some(values) = &field.enum_ {
        words = vec![
            values
                .iter()
                .filter_map(|value| value.0.as_str())
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", "),
        ];
    }
    match (field.minimum, field.maximum) {
        (Some(least), Some(most)) => words.push(format!("{least} to {most}")),
        (Some(least), None) => words.push(format!("at least {least}")),
        _ => {}
    }
    if let Some(step) = field.multiple_of {
        words.push(format!("a multiple of {step}"));
    }
    if let Some(length) = field.max_length {
        words.push(format!("at most {length} characters"));
    }
    if let Some(length) = field.max_items.or(field.max_properties) {
        words.push(format!("at most {length}"));
    }
    words.join(", ")
}

fn collect_rules(path: &str, schema: &JSONSchemaProps, rules: &mut Vec<String>) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        let place = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
        rules.push(format!("{place}{}", rule.message.as_deref().unwrap_or(&rule.rule)));
    }
}
