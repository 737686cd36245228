//! `plugin:yaml`: a tree of manifests; each declares tools, and perhaps a server.

use std::path::Path;

use domain::grant::kind::CapabilityKind;
use serde_json::{Map as Fields, Value};

use crate::details::{Kept, Secrets};
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
        let read = manifest(&path, &mut |item| {
            match item {
                Ok(listed) => sink.blocking(listed),
                Err(Wrong { place, what, about }) => sink.blocking_wrong(place, what, about),
            }
            sink.still_heard()
        });
        match read {
            Ok(given_up) => given_up?,
            // Which tools were in it, nobody can say.
            Err((line, what)) => sink.blocking_wrong(format!("{}:{line}", path.display()), what, About::Anything),
        }
    }
    Ok(())
}

/// Where items of a manifest go, one by one; an error when nobody listens any more.
type Each<'a> = &'a mut dyn FnMut(Result<Listed, Wrong>) -> Result<(), Unlisted>;

/// Nothing comes out of a manifest that is wrong.
fn manifest(path: &Path, each: Each<'_>) -> Result<Result<(), Unlisted>, (u64, String)> {
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
    let servers = servers(&fields, &name)
        .map_err(|field| (files::line_of(&text, field), format!("{field} is a name or an object")))?;
    // Of the whole manifest: what one tool gives away may stand in another one.
    let secrets = Secrets::of(&fields);
    // The manifest goes with each of its tools; a tool's own fields stand beside it.
    let mut kept = Kept::of(manifest_only(&fields), &secrets).trimmed();
    kept = kept.with(Kept::of(
        [("plugin".to_owned(), Value::from(name)), ("version".to_owned(), Value::from(version))].into_iter().collect(),
        &secrets,
    ));
    let listed = |kind, text: &str, more: Fields<String, Value>, place: String| {
        let wrong = |what| Wrong { place: place.clone(), what, about: About::named(text) };
        let reference = reference(text).map_err(wrong)?;
        secrets.check("its name", text).map_err(wrong)?;
        Ok(Listed {
            names: names.clone(),
            whose: whose.clone(),
            kind,
            reference,
            identity: None,
            life: Life::Living,
            expires_at: None,
            read_only: false,
            details: kept.clone().with(Kept::of(more, &secrets)).document(),
            place: place.clone(),
        })
    };
    // A tool without a name may have been any.
    let nameless = |place, what: &str| Err(Wrong { place, what: what.to_owned(), about: About::Anything });
    let place = |part: &str| format!("{}: {part}", path.display());
    let tools = fields.get("mcp_tools").and_then(Value::as_array);
    for (index, tool) in tools.into_iter().flatten().enumerate() {
        let place = place(&format!("mcp_tools[{index}]"));
        let item = match tool {
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
        };
        if let Err(given_up) = each(item) {
            return Ok(Err(given_up));
        }
    }
    for (field, server) in servers {
        if let Err(given_up) = each(listed(CapabilityKind::McpServer, &server, Fields::new(), place(field))) {
            return Ok(Err(given_up));
        }
    }
    Ok(Ok(()))
}

/// The servers that a manifest of this name declares, by the field that does; or the field that is wrong.
fn servers(fields: &Fields<String, Value>, name: &str) -> Result<Vec<(&'static str, String)>, &'static str> {
    let mut servers = Vec::new();
    for field in SERVER {
        let server = match fields.get(field) {
            None | Some(Value::Null | Value::Bool(false)) => continue,
            Some(Value::String(name)) => name.as_str(),
            Some(Value::Object(object)) => object.get("name").and_then(Value::as_str).unwrap_or(name),
            Some(Value::Bool(true)) => name,
            Some(_) => return Err(field),
        };
        servers.push((field, server.to_owned()));
    }
    Ok(servers)
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
        let mut items = Vec::new();
        manifest(&path, &mut |item| {
            items.push(item);
            Ok(())
        })?
        .unwrap();
        Ok(items)
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
    fn a_manifest_of_many_tools_is_looked_at_once() {
        let started = std::time::Instant::now();
        let fields: String = (0..900).map(|n| format!("field_{n}: {}\n", "x".repeat(500))).collect();
        let tools: String = (0..5_000).map(|n| format!("  - {{name: tool_{n}, secret_{n}: hunter2-{n}}}\n")).collect();
        let items = read(&format!("name: x\nversion: 1.0.0\n{fields}mcp_tools:\n{tools}")).unwrap();
        assert_eq!(items.iter().filter(|item| item.is_ok()).count(), 5_000);
        assert!(items.iter().all(|item| !format!("{item:?}").contains("hunter2")));
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
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
