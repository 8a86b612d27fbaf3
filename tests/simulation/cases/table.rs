//! `docs/failure-modes.md` says what is so: its tests, conditions, reasons and words exist.

use memorialstream_operator::api::Reason;
use memorialstream_operator::api::conditions::ConditionType;
use std::fs;
use std::path::{Path, PathBuf};

const TABLE: &str = include_str!("../../../docs/failure-modes.md");
/// Not built yet: receivers of webhooks.
const WAIT: [usize; 2] = [11, 25];

const CONDITIONS: [ConditionType; 12] = [
    ConditionType::Ready,
    ConditionType::ReadyToGoLive,
    ConditionType::OnAir,
    ConditionType::CredentialsValid,
    ConditionType::MuxStreamReady,
    ConditionType::RoomReady,
    ConditionType::CompositorReady,
    ConditionType::EgressActive,
    ConditionType::ProgramApplied,
    ConditionType::EndingSoon,
    ConditionType::Reconciling,
    ConditionType::Stalled,
];

struct Row<'a> {
    number: usize,
    status: &'a str,
    deeds: &'a str,
    tests: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let number = cells[0].parse().ok()?;
        assert_eq!(cells.len(), 5, "{line}");
        Some(Row { number, status: cells[2], deeds: cells[3], tests: cells[4] })
    };
    TABLE.lines().filter_map(row).collect()
}

/// What stands between these, each time.
fn between(text: &str, open: char, close: char) -> Vec<&str> {
    let mut rest = text;
    let mut all = Vec::new();
    while let Some((_, begun)) = rest.split_once(open) {
        let Some((found, after)) = begun.split_once(close) else { break };
        all.push(found);
        rest = after;
    }
    all
}

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

/// The Rust files below these folders, with words that go over several lines in one.
fn text_of(folders: &[&str]) -> String {
    let mut all = Vec::new();
    for folder in folders {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut all);
    }
    let text: Vec<String> = all.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let text = text.join("\n");
    let mut pieces = text.split("\\\n");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |joined, piece| joined + piece.trim_start())
}

#[test]
fn every_case_has_a_row_and_the_tests_that_it_names_exist() {
    let code = text_of(&["tests", "src", "lab"]);
    let numbers: Vec<usize> = rows().iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=28).collect::<Vec<_>>());
    for Row { number, tests, .. } in rows() {
        let named = between(tests, '`', '`');
        assert_eq!(named.is_empty(), WAIT.contains(&number), "row {number}");
        assert_eq!(tests.contains("not built yet"), WAIT.contains(&number) || number == 28, "row {number}");
        for test in named {
            assert!(code.contains(&format!("fn {test}()")), "row {number}: no test {test}");
        }
    }
}

#[test]
fn the_conditions_reasons_and_words_of_the_table_are_those_of_the_operator() {
    let code = text_of(&["src"]);
    let known = |name: &str, truth: &str| {
        CONDITIONS.iter().any(|kind| kind.as_str() == name) && ["True", "False", "Unknown"].contains(&truth)
    };
    for Row { number, status, deeds, .. } in rows() {
        for word in between(status, '`', '`').into_iter().filter(|word| !word.contains('.')) {
            match word.split_once('=') {
                Some((name, truth)) => assert!(known(name, truth), "row {number}: {word}"),
                None => {
                    let is_reason = Reason::ALL.iter().any(|reason| reason.as_str() == word);
                    assert!(is_reason, "row {number}: no reason {word}");
                }
            }
        }
        for word in between(status, '“', '”').into_iter().flat_map(|words| words.split('…')) {
            assert!(code.contains(word.trim()), "row {number}: nobody says {word:?}");
        }
        for (_, event) in deeds.match_indices("Event `").map(|(at, found)| (at, &deeds[at + found.len()..])) {
            let event = event.split('`').next().unwrap_or_default();
            assert!(code.contains(&format!("\"{event}\"")), "row {number}: no Event {event}");
        }
    }
}
