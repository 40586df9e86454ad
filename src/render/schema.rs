//! JSON Schemas of the documents, made from the types they are written from.

/// The JSON Schema of a report, `longpole.report/1`.
pub const REPORT_SCHEMA: &str = include_str!("../../docs/schema/longpole.report-1.json");

/// The JSON Schema of a comparison, `longpole.compare/1`.
pub const COMPARE_SCHEMA: &str = include_str!("../../docs/schema/longpole.compare-1.json");

#[cfg(test)]
mod tests {
    use schemars::generate::SchemaSettings;
    use schemars::{JsonSchema, Schema};

    use crate::compare::Comparison;
    use crate::render::json::sorted;
    use crate::report::Report;

    /// As documents are written: a field that is always there is required.
    fn schema_of<T: JsonSchema>(id: &str) -> String {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let mut schema: Schema = generator.into_root_schema_for::<T>();
        schema.insert("$id".to_owned(), format!("urn:{}", id.replace('/', ":")).into());
        schema.insert("title".to_owned(), id.into());
        // What it is, without the links of its documentation to other types.
        schema.remove("description");
        format!("{:#}\n", sorted(schema.to_value()))
    }

    #[test]
    fn the_schemas_are_up_to_date() {
        for (id, file, schema) in [
            (crate::report::SCHEMA, "longpole.report-1.json", schema_of::<Report>(crate::report::SCHEMA)),
            (
                crate::compare::SCHEMA,
                "longpole.compare-1.json",
                schema_of::<Comparison>(crate::compare::SCHEMA),
            ),
        ] {
            let path = format!("{}/docs/schema/{file}", env!("CARGO_MANIFEST_DIR"));
            if std::env::var_os("UPDATE_DOCS").is_some() {
                std::fs::write(&path, &schema).unwrap();
            }
            let written = std::fs::read_to_string(&path).unwrap();
            assert!(written == schema, "{id}: made anew by UPDATE_DOCS=1 cargo test --lib schema");
        }
    }
}
