//! `plugin:yaml`: a tree of manifests; each declares tools, and perhaps a server.

use std::path::Path;

use domain::grant::kind::CapabilityKind;
use serde_json::{Map as Fields, Value};

use crate::details::{self, Secrets};
use crate::shape::{self, Shape};
use crate::{About, Life, Listed, Map, Place, Sink, Unlisted, Whose, Wrong, files, reference};

const MANIFEST: &str = "plugin.yaml";
const OPTIONAL: [(&str, Shape); 19] = [
    ("display_name", Shape::Text),
    ("owner", Shape::Text),
    ("knight", Shape::Mapping),
    ("db_namespace", Shape::Text),
    ("shared_tables", Shape::List),
    ("bus_channels", Shape::Mapping),
    ("roles", Shape::List),
    ("adapters", Shape::List),
    ("compliance_profile", Shape::Mapping),
    ("capabilities", Shape::List),
    ("mcp_tools", Shape::List),
    ("routes", Shape::List),
    ("events_emit", Shape::List),
    ("secrets", Shape::Texts),
    ("fork_safe", Shape::Flag),
    ("fork_variants", Shape::List),
    ("kernel_min_version", Shape::Text),
    ("depends_on", Shape::List),
    ("consumes", Shape::List),
];
/// What a manifest declares a server by.
const SERVER: [&str; 2] = ["mcp_server", "server"];

pub(crate) async fn list(map: &Map, sink: &Sink) -> Result<(), Unlisted> {
    let Place::Paths(roots) = &map.place else { return Ok(()) };
    let (roots, sink) = (roots.clone(), sink.clone());
    tokio::task::spawn_blocking(move || roots.iter().try_for_each(|root| list_tree(root, &sink)))
        .await
        .unwrap_or_else(|error| Err(Unlisted::unreachable("the listing", error)))
}

fn list_tree(root: &Path, sink: &Sink) -> Result<(), Unlisted> {
    for path in files::find(root, |name| name == MANIFEST, |_| About::Anything, sink)? {
        sink.still_heard()?;
        match manifest(&path) {
            Ok(items) => items.into_iter().for_each(|item| match item {
                Ok(listed) => sink.blocking(listed),
                Err(Wrong { place, what, about }) => sink.blocking_wrong(place, what, about),
            }),
            // Which tools were in it, nobody can say.
            Err((line, what)) => sink.blocking_wrong(format!("{}:{line}", path.display()), what, About::Anything),
        }
    }
    Ok(())
}

fn manifest(path: &Path) -> Result<Vec<Result<Listed, Wrong>>, (u64, String)> {
    let text = files::read(path).map_err(|what| (1, what))?;
    let fields = files::yaml(&text, 0)?;
    let named = |name: &str| match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(_) => Err((1, format!("{name} is no text"))),
        None => Err((1, format!("{name} is missing"))),
    };
    let (name, version) = (named("name")?, named("version")?);
    shape::check(&fields, &OPTIONAL)
        .map_err(|what| (files::line_of(&text, what.split(' ').next().unwrap_or_default()), what))?;
    let owner = fields.get("owner").and_then(Value::as_str);
    let names = crate::names(&name, "owner", owner);
    // Anybody may call a plugin whatever they like: only its owner is looked for among the guilds.
    let whose = owner.and_then(|owner| owner.parse().ok()).map(Whose::Guild);
    let listed = |kind, text: &str, more: Fields<String, Value>, place: String| match reference(text) {
        Ok(reference) => {
            // The manifest goes with each of its tools; a tool's own fields stand beside it.
            let mut kept: Fields<String, Value> = manifest_only(&fields);
            kept.insert("plugin".to_owned(), Value::String(name.clone()));
            kept.insert("version".to_owned(), Value::String(version.clone()));
            kept.extend(more);
            let secrets = Secrets::of(&kept);
            if let Err(what) = secrets.check("its name", text) {
                return Err(Wrong { place, what, about: About::named(text) });
            }
            Ok(Listed {
                names: names.clone(),
                whose: whose.clone(),
                kind,
                reference,
                life: Life::Living,
                expires_at: None,
                read_only: false,
                details: details::document(kept, &secrets, []),
                place,
            })
        }
        Err(what) => Err(Wrong { place, what, about: About::named(text) }),
    };
    // A tool without a name may have been any.
    let nameless = |place, what: &str| Err(Wrong { place, what: what.to_owned(), about: About::Anything });
    let mut items = Vec::new();
    let place = |part: &str| format!("{}: {part}", path.display());
    let tools = fields.get("mcp_tools").and_then(Value::as_array);
    for (index, tool) in tools.into_iter().flatten().enumerate() {
        let place = place(&format!("mcp_tools[{index}]"));
        items.push(match tool {
            Value::String(name) => listed(CapabilityKind::Tool, name, Fields::new(), place),
            Value::Object(object) => match object.get("name").and_then(Value::as_str) {
                Some(name) => {
                    let more = object.iter().filter(|(field, _)| *field != "name");
                    let more = more.map(|(field, value)| (field.clone(), value.clone())).collect();
                    listed(CapabilityKind::Tool, name, more, place)
                }
                None => nameless(place, "a tool has a name"),
            },
            _ => nameless(place, "a tool is a name, or an object with one"),
        });
    }
    for field in SERVER {
        let server = match fields.get(field) {
            None | Some(Value::Null | Value::Bool(false)) => continue,
            Some(Value::String(name)) => name.clone(),
            Some(Value::Object(object)) => object.get("name").and_then(Value::as_str).unwrap_or(&name).to_owned(),
            Some(Value::Bool(true)) => name.clone(),
            Some(_) => return Err((files::line_of(&text, field), format!("{field} is a name or an object"))),
        };
        items.push(listed(CapabilityKind::McpServer, &server, Fields::new(), place(field)));
    }
    Ok(items)
}

/// What is said of the plugin, and not of one of its tools.
fn manifest_only(fields: &Fields<String, Value>) -> Fields<String, Value> {
    let others = fields.iter().filter(|(field, _)| *field != "mcp_tools" && *field != "name");
    others.map(|(field, value)| (field.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn read(text: &str) -> Result<Vec<Result<Listed, Wrong>>, (u64, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MANIFEST);
        fs::write(&path, text).unwrap();
        manifest(&path)
    }

    #[test]
    fn a_manifest_gives_its_tools_and_its_server() {
        let items = read(
            "name: ledger-tools\nversion: 1.4.0\nowner: kasra\nmcp_tools:\n  - post_invoice\n  - {name: void_invoice, description: Reverse}\n  - 7\nserver: {name: ledger}\nnobody_knows: [1]\n",
        )
        .unwrap();
        let refs: Vec<String> = items
            .iter()
            .map(|item| match item {
                Ok(listed) => format!("{} {} {:?}", listed.kind, listed.reference, listed.names),
                Err(wrong) => format!("{}; {:?}", wrong.what, wrong.about),
            })
            .collect();
        assert_eq!(
            refs,
            [
                "tool post_invoice [\"ledger-tools\", \"owner:kasra\"]",
                "tool void_invoice [\"ledger-tools\", \"owner:kasra\"]",
                "a tool is a name, or an object with one; Anything",
                "mcp_server ledger [\"ledger-tools\", \"owner:kasra\"]"
            ]
        );
    }

    #[test]
    fn only_the_owner_is_a_guild_whatever_the_plugin_is_called() {
        for (text, names, whose) in [
            ("name: kasra\nversion: 1.0.0\nmcp_tools: [x]\n", vec!["kasra"], None),
            ("name: kasra\nversion: 1.0.0\nowner: loom\nmcp_tools: [x]\n", vec!["kasra", "owner:loom"], Some("loom")),
            ("name: owner:kasra\nversion: 1.0.0\nowner: A B\nmcp_tools: [x]\n", vec!["owner:A B"], None),
        ] {
            let items = read(text).unwrap();
            let [Ok(listed)] = &items[..] else { panic!("{items:?}") };
            assert_eq!(listed.names, names, "{text}");
            assert_eq!(listed.whose, whose.map(|slug| Whose::Guild(slug.parse().unwrap())), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_says_its_line() {
        assert_eq!(read("version: 1.0.0\n").unwrap_err(), (1, "name is missing".to_owned()));
        let many = read("name: x\nversion: 1.0.0\nmcp_tools: many\n").unwrap_err();
        assert_eq!(many, (3, "mcp_tools is not a list".to_owned()));
        assert_eq!(read("name: x\nversion: 1.0.0\n\nowner: [a]\n").unwrap_err(), (4, "owner is not a text".to_owned()));
        assert!(read("name: x\nversion: [1.0.0\n").unwrap_err().0 >= 2);
        assert_eq!(read("- a\n").unwrap_err().1, "is no mapping of names to values");
    }
}
