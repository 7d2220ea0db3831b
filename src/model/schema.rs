//! The JSON Schema of the experiment file, for editors. Made from the same description of the keys that the reader uses.

use super::keys::{EXPERIMENT, Key, Kind, Shape, Word};
use serde_json::{Map, Value, json};

/// The schema of an experiment file (draft 7, which editors of TOML understand).
#[must_use]
pub fn schema() -> Value {
    let mut definitions = Map::new();
    let table = table(&EXPERIMENT, &mut definitions);
    let mut top = Map::new();
    top.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    top.insert("$id".into(), json!("https://brownout.dev/schema/experiment-v1.json"));
    if let Value::Object(table) = table {
        top.extend(table);
    }
    top.insert("title".into(), json!("A Brownout experiment"));
    top.insert("definitions".into(), Value::Object(definitions));
    Value::Object(top)
}

/// A table by reference; it is described once, among the definitions.
fn reference(shape: &'static Shape, definitions: &mut Map<String, Value>) -> Value {
    let name = definition(shape);
    if !definitions.contains_key(&name) {
        definitions.insert(name.clone(), Value::Null);
        let table = table(shape, definitions);
        definitions.insert(name.clone(), table);
    }
    json!({ "$ref": format!("#/definitions/{name}") })
}

fn definition(shape: &Shape) -> String {
    shape.name.trim_matches(['[', ']']).replace(' ', "_")
}

fn table(shape: &'static Shape, definitions: &mut Map<String, Value>) -> Value {
    let properties: Map<String, Value> =
        shape.keys.iter().map(|key| (key.name.to_owned(), described(key, definitions))).collect();
    let required: Vec<&str> = shape.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut table = json!({
        "type": "object",
        "title": shape.name,
        "description": shape.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if let (Some(family), Value::Object(table)) = (shape.family, &mut table) {
        let mut patterns = Map::new();
        patterns.insert(family.pattern.to_owned(), described(&family.key, definitions));
        table.insert("patternProperties".into(), Value::Object(patterns));
    }
    table
}

fn described(key: &'static Key, definitions: &mut Map<String, Value>) -> Value {
    let mut value = kind(&key.kind, definitions);
    // Beside `$ref` nothing else is read, so it is put one level down.
    if value.get("$ref").is_some() {
        value = json!({ "allOf": [value] });
    }
    if let Value::Object(value) = &mut value {
        value.insert("title".into(), json!(key.name));
        value.insert("description".into(), json!(description(key)));
        if let Some(example) = literal(key.example) {
            value.insert("examples".into(), json!([example]));
        }
        if let Some(default) = key.default.and_then(literal) {
            value.insert("default".into(), default);
        }
    }
    value
}

fn description(key: &Key) -> String {
    match key.default {
        Some(default) => format!("{} Default: {default}.", key.doc),
        None => key.doc.to_owned(),
    }
}

/// A TOML value as JSON, if the text is one.
fn literal(text: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

fn word(word: &Word, filled: &str) -> Value {
    match word.pattern {
        "" => json!({ "type": "string" }),
        // Whatever is filled in is not known to an editor.
        pattern => json!({ "type": "string", "pattern": format!("(?:{pattern})|\\$\\{{({filled})\\.") }),
    }
}

fn kind(what: &'static Kind, definitions: &mut Map<String, Value>) -> Value {
    match what {
        Kind::Word(form) => word(form, "env|port"),
        Kind::Filled(form) => word(form, "env|port|edge"),
        Kind::Scalar => {
            json!({ "anyOf": [{ "type": "string" }, { "type": "number" }, { "type": "boolean" }] })
        }
        Kind::OneOf(words, _) => {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            json!({ "type": "string", "enum": words })
        }
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Integer(low, high) => {
            let mut value = json!({ "type": "integer", "minimum": low });
            if let (true, Value::Object(value)) = (*high < i64::MAX as u64, &mut value) {
                value.insert("maximum".into(), json!(high));
            }
            value
        }
        Kind::Number(low, high) => json!({ "type": "number", "minimum": low, "maximum": high }),
        Kind::Many(one) => {
            let one = kind(one, definitions);
            json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
        }
        Kind::Exactly(count, one) => {
            json!({ "type": "array", "items": kind(one, definitions), "minItems": count, "maxItems": count })
        }
        Kind::Table(shape) => reference(shape, definitions),
        Kind::Tables(shape) => json!({ "type": "array", "items": reference(shape, definitions) }),
        Kind::Map(name, one) => {
            json!({ "type": "object", "propertyNames": word(name, "env|port"), "additionalProperties": kind(one, definitions) })
        }
        Kind::Any(kinds) => {
            let kinds: Vec<Value> = kinds.iter().map(|one| kind(one, definitions)).collect();
            match kinds.as_slice() {
                [one] => one.clone(),
                _ => json!({ "anyOf": kinds }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::conform;
    use crate::model::tree::Planter;
    use crate::problem::{Place, Problems};
    use std::collections::BTreeSet;

    /// Every table of the file.
    fn shapes() -> Vec<&'static Shape> {
        let mut all: Vec<&'static Shape> = Vec::new();
        let mut todo = vec![&EXPERIMENT];
        while let Some(shape) = todo.pop() {
            if !all.iter().any(|other| other.name == shape.name) {
                all.push(shape);
                todo.extend(shape.keys.iter().filter_map(|key| key.kind.shape()));
            }
        }
        all
    }

    #[test]
    fn the_schema_has_the_keys_of_the_reader_and_no_other() {
        let schema = schema();
        for shape in shapes() {
            let table = match shape.name {
                "the file" => &schema,
                _ => &schema["definitions"][definition(shape)],
            };
            let written: BTreeSet<&str> =
                table["properties"].as_object().unwrap().keys().map(String::as_str).collect();
            let read: BTreeSet<&str> = shape.keys.iter().map(|key| key.name).collect();
            assert_eq!(written, read, "{}", shape.name);
            assert_eq!(table["additionalProperties"], false);
            assert_eq!(table.get("patternProperties").is_some(), shape.family.is_some());
        }
    }

    #[test]
    fn no_word_is_both_known_and_unknown() {
        for shape in shapes() {
            let names: BTreeSet<&str> = shape.keys.iter().map(|key| key.name).collect();
            assert_eq!(names.len(), shape.keys.len(), "{}", shape.name);
            for word in shape.later.iter().chain(shape.instead.iter().map(|(other, _)| other)) {
                assert!(!names.contains(word), "{word} in {}", shape.name);
            }
            for (_, here) in shape.instead {
                assert!(names.contains(here) || shape.key(here).is_some(), "{here} in {}", shape.name);
            }
        }
    }

    #[test]
    fn every_example_and_every_default_is_right() {
        for shape in shapes() {
            for key in shape.keys.iter().chain(shape.family.map(|family| &family.key)) {
                let name = if key.name == "pNN" { "p50" } else { key.name };
                let default = key.default.filter(|text| literal(text).is_some());
                for text in [Some(key.example), default].into_iter().flatten() {
                    let text = format!("{name} = {text}");
                    let mut problems = Problems::new(shape.name, &text);
                    let table = toml::de::DeTable::parse(&text).unwrap();
                    let ports = crate::model::Ports::default();
                    let planter = Planter { source: 0, offset: 0, env: &|_| None, ports: &ports };
                    let mut tree = planter.table(table.get_ref(), &mut problems);
                    conform::table(&mut tree, shape, Place::default(), &mut problems);
                    let wrong: Vec<_> = problems
                        .errors()
                        .filter(|p| !p.title.contains("is missing"))
                        .map(|p| &p.title)
                        .collect();
                    assert!(wrong.is_empty(), "{}: {text}: {wrong:?}", shape.name);
                }
            }
        }
    }
}
