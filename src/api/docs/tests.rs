//! The document against the types that handlers use. Against the routes it is held in `tests/it`.

use std::collections::BTreeMap;

use super::*;

#[test]
fn handlers_read_the_examples() {
    let mut count = 0;
    for operation in operations().iter().flat_map(|group| &group.operations) {
        let Some((example, read)) = operation.try_example() else { continue };
        assert!(read.is_ok(), "{:?}: {example} {read:?}", operation.method_and_path());
        count += 1;
    }
    assert!(count > 20, "{count}");
}

#[test]
fn a_name_is_of_one_schema() {
    let mut schemas: BTreeMap<String, serde_json::Value> = BTreeMap::from(problems::schemas());
    for operation in operations().iter().flat_map(|group| &group.operations) {
        for (name, schema) in operation.schemas() {
            assert_eq!(schemas.entry(name.clone()).or_insert_with(|| schema.clone()), schema, "{name}");
        }
    }
    assert!(schemas.len() > 40, "{}", schemas.len());
}

#[test]
fn every_file_of_the_browser_is_there() {
    let served = FILES.map(|file| utoipa_swagger_ui::serve(file, Arc::new(Config::default())).ok().flatten());
    assert!(served.iter().all(Option::is_some));
}
