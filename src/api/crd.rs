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
}
