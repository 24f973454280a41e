//! Every change of a bundle, made from its own JSON.

use serde_json::{Map, Value as Json, json};

/// A name that stands for a member's second occurrence until the JSON is text, because an object holds a name once.
const SECOND: &str = "second occurrence";

/// A changed bundle.
pub struct Change {
    /// What was changed, for messages.
    pub what: String,
    /// Path of the value, such as `receipt.inclusion_proof[0]`.
    pub path: String,
    /// Whether a member is given twice.
    pub is_duplicate: bool,
    pub bundle: Vec<u8>,
}

/// Returns the bundle with each value changed in turn, in every way that fits its kind.
pub fn of_values(bundle: &[u8]) -> Vec<Change> {
    let whole: Json = serde_json::from_slice(bundle).unwrap();
    let mut found = Vec::new();
    for (path, pointer) in pointers(&whole, "", "") {
        let value = whole.pointer(&pointer).unwrap();
        for variant in variants(value) {
            assert_ne!(variant, *value, "{path}");
            let what = format!("{path}: {value} as {variant}");
            found.push(change(&whole, (&path, &pointer), what, variant));
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let mut variant = value.clone();
            variant[SECOND] = member.clone();
            let what = format!("{path}: {name} twice");
            let mut twice = change(&whole, (&path, &pointer), what, variant);
            let text = String::from_utf8(twice.bundle).unwrap();
            twice.bundle = text.replace(SECOND, name).into_bytes();
            twice.is_duplicate = true;
            found.push(twice);
        }
    }
    found
}

/// Returns the bundle with one bit flipped.
pub fn with_flipped_bit(bundle: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bundle.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

fn change(whole: &Json, (path, pointer): (&str, &str), what: String, variant: Json) -> Change {
    let mut changed = whole.clone();
    *changed.pointer_mut(pointer).unwrap() = variant;
    Change { what, path: path.to_owned(), is_duplicate: false, bundle: serde_json::to_vec(&changed).unwrap() }
}

/// Returns the paths of all values in a value, each with its JSON pointer.
fn pointers(value: &Json, path: &str, pointer: &str) -> Vec<(String, String)> {
    let mut found = vec![(path.to_owned(), pointer.to_owned())];
    for (name, member) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.extend(pointers(member, &path, &format!("{pointer}/{name}")));
    }
    for (place, element) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(pointers(element, &format!("{path}[{place}]"), &format!("{pointer}/{place}")));
    }
    found
}

fn variants(value: &Json) -> Vec<Json> {
    let mut found = match value {
        Json::String(text) => text_variants(text),
        Json::Number(number) => {
            let number = u32::try_from(number.as_u64().unwrap()).unwrap();
            vec![
                json!(number + 1),
                json!(number - 1),
                json!(number.to_string()),
                json!(f64::from(number)),
                json!(true),
            ]
        }
        Json::Bool(value) => vec![json!(!value), json!(1), json!("true")],
        Json::Array(elements) => list_variants(elements),
        Json::Object(members) => object_variants(members),
        Json::Null => panic!("a null in a bundle"),
    };
    found.push(Json::Null);
    found.push(json!([value]));
    found
}

fn text_variants(text: &str) -> Vec<Json> {
    let replaced = |place: usize| {
        let mut characters: Vec<char> = text.chars().collect();
        characters[place] = if characters[place] == 'A' { 'B' } else { 'A' };
        characters.into_iter().collect::<String>()
    };
    let last = text.chars().count() - 1;
    let mut found = vec![
        replaced(0),
        replaced(last / 2),
        replaced(last),
        String::new(),
        format!("{text} "),
        format!(" {text}"),
    ];
    let number = text.parse::<u64>();
    if let Ok(number) = number {
        found.extend([(number + 1).to_string(), format!("0{number}"), format!("+{number}")]);
    }
    found.extend([text.to_uppercase(), text.to_lowercase()].into_iter().filter(|other| other != text));
    let mut found: Vec<Json> = found.into_iter().map(Json::String).collect();
    found.extend(number.map(|number| json!(number)));
    found
}

fn list_variants(elements: &[Json]) -> Vec<Json> {
    let reversed: Vec<&Json> = elements.iter().rev().collect();
    let mut found =
        vec![json!(elements[1..]), json!([elements, &elements[..1]].concat()), json!([]), json!({})];
    if elements.first() != elements.last() {
        found.push(json!(reversed));
    }
    found
}

fn object_variants(members: &Map<String, Json>) -> Vec<Json> {
    let mut found = vec![json!({}), json!([])];
    for name in members.keys() {
        let mut fewer = members.clone();
        let value = fewer.remove(name).unwrap();
        found.push(fewer.clone().into());
        fewer.insert(format!("{name}_"), value);
        found.push(fewer.into());
    }
    for (name, value) in [("log_key", json!("a")), ("request_salt", json!("AAAA")), ("note", Json::Null)] {
        let mut more = members.clone();
        more.insert(name.to_owned(), value);
        found.push(more.into());
    }
    found
}
