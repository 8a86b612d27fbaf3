//! The CustomResourceDefinition as it is installed.

use super::MemorialStream;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

/// The definition of `MemorialStream`.
///
/// No field is nullable, so the API server drops an explicit `null`: a stored null would count as present in the CEL
/// rules and break them with a message that nobody understands.
pub fn custom_resource_definition() -> CustomResourceDefinition {
    let mut definition = MemorialStream::crd();
    for version in &mut definition.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            drop_null(schema);
            // kstatus takes an object without a status for current: until the operator has seen it, it is not.
            let status = schema.properties.as_mut().and_then(|properties| properties.get_mut("status"));
            if let Some(status) = status {
                status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
            }
        }
    }
    definition
}

fn drop_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        drop_null(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        drop_null(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrBool;

    fn visit(path: &str, schema: &JSONSchemaProps, check: &mut impl FnMut(&str, &JSONSchemaProps)) {
        for (name, property) in schema.properties.iter().flatten() {
            let path = format!("{path}.{name}");
            check(&path, property);
            visit(&path, property, check);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            visit(&format!("{path}[]"), items, check);
        }
    }

    fn schema() -> JSONSchemaProps {
        custom_resource_definition().spec.versions.remove(0).schema.unwrap().open_api_v3_schema.unwrap()
    }

    #[test]
    fn every_field_has_a_description_and_none_takes_null() {
        let mut fields = 0;
        visit("", &schema(), &mut |path, field| {
            fields += 1;
            assert!(
                field.description.as_ref().is_some_and(|text| text.len() > 5),
                "{path} has no description"
            );
            assert_eq!(field.nullable, None, "{path}");
        });
        assert!(fields > 80, "{fields} fields only");
    }

    #[test]
    fn what_the_director_owns_has_no_default() {
        visit("", &schema(), &mut |path, field| {
            if [".spec.state", ".spec.session", ".spec.program"].iter().any(|owned| path.starts_with(owned)) {
                assert!(field.default.is_none(), "{path} has a default: a GitOps tool would own it");
            }
        });
    }

    /// The most bytes that a value takes as JSON. The API server writes one letter in up to six of them, a control
    /// character for instance.
    fn most_bytes(path: &str, schema: &JSONSchemaProps) -> i64 {
        assert_eq!(schema.x_kubernetes_preserve_unknown_fields, None, "{path} takes what nobody knows");
        if let Some(values) = &schema.enum_ {
            return values.iter().map(|value| value.0.to_string().len() as i64).max().unwrap();
        }
        let bound = |bound: Option<i64>, name| bound.unwrap_or_else(|| panic!("{path} has no {name}"));
        match schema.type_.as_deref() {
            Some("boolean") => 5,
            Some("integer") => 20,
            // A pattern lets through one byte for each letter.
            Some("string") | None => {
                2 + bound(schema.max_length, "maxLength") * if schema.pattern.is_some() { 1 } else { 6 }
            }
            Some("array") => {
                let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items else { panic!("{path}") };
                2 + bound(schema.max_items, "maxItems") * (1 + most_bytes(&format!("{path}[]"), items))
            }
            Some("object") => {
                let fields = schema.properties.iter().flatten().map(|(name, field)| {
                    4 + name.len() as i64 + most_bytes(&format!("{path}.{name}"), field)
                });
                let entries = schema.additional_properties.as_ref().map(|values| {
                    let JSONSchemaPropsOrBool::Schema(values) = values else { panic!("{path} takes all") };
                    let key = bound(longest_key(schema), "rule for the length of keys");
                    let entry = 4 + key + most_bytes(&format!("{path}{{}}"), values);
                    bound(schema.max_properties, "maxProperties") * entry
                });
                2 + fields.chain(entries).sum::<i64>()
            }
            Some(other) => panic!("{path} is a {other}"),
        }
    }

    fn longest_key(map: &JSONSchemaProps) -> Option<i64> {
        let rules = map.x_kubernetes_validations.as_ref()?;
        let bound = |rule: &str| {
            let rest = rule.strip_prefix("self.all(key, key.matches('^[-./0-9A-Z_a-z]{1,")?;
            rest.strip_suffix("}$'))")?.parse().ok()
        };
        rules.iter().find_map(|rule| bound(&rule.rule))
    }

    /// Each is kept in memory, and whoever may make one may make many.
    #[test]
    fn everything_in_a_spec_is_bounded() {
        let most = most_bytes("spec", &schema().properties.unwrap()["spec"]);
        println!("a spec has at most {most} bytes");
        assert!(most < 50_000, "{most}");
    }

    #[test]
    fn claims_that_no_compositor_can_have_are_no_part_of_it() {
        let schema = schema();
        let mut found = Vec::new();
        visit("", &schema, &mut |path, _| {
            found.extend(path.strip_prefix(".spec.compositor.resources.").map(str::to_owned))
        });
        assert_eq!(found, ["limits", "requests"]);
    }
}
