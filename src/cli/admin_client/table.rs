//! Revocations as an aligned table.

use serde_json::Value;

const COLUMNS: [&str; 7] = [
    "ID", "KIND", "ISSUER", "VALUE", "CREATED", "EXPIRES", "REASON",
];

/// One line for each, under a heading.
pub(super) fn render(revocations: &[Value]) -> String {
    let rows: Vec<[String; 7]> = std::iter::once(COLUMNS.map(str::to_owned))
        .chain(revocations.iter().map(row))
        .collect();
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut table = String::new();
    for row in &rows {
        let line: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        table.push_str(line.join("  ").trim_end());
        table.push('\n');
    }
    table
}

fn row(revocation: &Value) -> [String; 7] {
    let field = |name: &str| revocation.get(name).map(cell).unwrap_or_default();
    let kind = field("kind");
    let mut value = field(if kind == "token" { "token_id" } else { &kind });
    let cut_off = field("issued_before");
    if !cut_off.is_empty() {
        value = format!("{value} (issued up to {cut_off})");
    }
    [
        field("id"),
        kind,
        field("issuer"),
        value,
        field("created_at"),
        field("expires_at"),
        field("reason"),
    ]
}

/// A value on one line; what comes from a provider must not steer the terminal.
pub(super) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_harmful = |character: char| {
        character.is_control()
            || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .flat_map(|character| {
            let escaped = is_harmful(character).then(|| character.escape_default());
            let plain = escaped.is_none().then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
