//! `fs:skills`: a tree of folders, each with a SKILL.md whose front matter says what it is; or one JSON card a skill.

use std::collections::HashMap;
use std::path::Path;

use domain::grant::kind::CapabilityKind;
use serde_json::{Map as Fields, Value};

use crate::{Item, Life, Listed, Map, Place, Sink, Unlisted, details, files, reference};

const SKILL: &str = "SKILL.md";
const GRADES: [&str; 4] = ["diesel", "regular", "premium", "aviation"];

pub(crate) async fn list(map: &Map, sink: &Sink) -> Result<(), Unlisted> {
    let Place::Paths(roots) = &map.place else { return Ok(()) };
    let (roots, sink) = (roots.clone(), sink.clone());
    let work = move || {
        let mut seen = HashMap::new();
        roots.iter().try_for_each(|root| list_tree(root, &mut seen, &sink))
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Unlisted::unreachable("the listing", error)))
}

/// `seen`: names of skills, and where they were met.
fn list_tree(root: &Path, seen: &mut HashMap<String, String>, sink: &Sink) -> Result<(), Unlisted> {
    for path in files::find(root, |name| name == SKILL || name.ends_with(".json"), sink)? {
        let is_skill = path.file_name().is_some_and(|name| name == SKILL);
        let read = if is_skill { skill(&path) } else { card(&path) };
        let place = |line: u64| format!("{}:{line}", path.display());
        match read {
            Ok((name, listed)) => match seen.get(&name) {
                Some(first) => {
                    let what = format!("a second skill named {name:?}, the first is {first}");
                    sink.blocking(Item::Wrong { place: place(1), what });
                }
                None => {
                    seen.insert(name, listed.place.clone());
                    sink.blocking(Item::Listed(Box::new(listed)));
                }
            },
            Err((line, what)) => sink.blocking(Item::Wrong { place: place(line), what }),
        }
    }
    Ok(())
}

fn skill(path: &Path) -> Result<(String, Listed), (u64, String)> {
    let text = files::read(path).map_err(|what| (1, what))?;
    let fields = files::yaml(front_matter(&text)?, 1)?;
    let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let folder = folder.ok_or((1, "lies in no folder".to_owned()))?;
    let name = text_of(&fields, "name")?.ok_or((1, "name is missing".to_owned()))?;
    check_types(&fields).map_err(|what| (1, what))?;
    let author = fields.get("metadata").and_then(|metadata| metadata.get("author")).and_then(Value::as_str);
    listed(path, &folder, name, crate::names(&folder, "author", author), fields)
}

fn card(path: &Path) -> Result<(String, Listed), (u64, String)> {
    let text = files::read(path).map_err(|what| (1, what))?;
    let fields: Fields<String, Value> =
        serde_json::from_str(&text).map_err(|error| (error.line() as u64, "is no JSON object".to_owned()))?;
    let id = text_of(&fields, "skill_id")?.ok_or((1, "skill_id is missing".to_owned()))?;
    let name = text_of(&fields, "name")?.ok_or((1, "name is missing".to_owned()))?;
    let author = text_of(&fields, "author_agent")?;
    listed(path, &id, name, crate::names(&id, "author", author.as_deref()), fields)
}

fn listed(
    path: &Path,
    reference_text: &str,
    name: String,
    names: Vec<String>,
    fields: Fields<String, Value>,
) -> Result<(String, Listed), (u64, String)> {
    let listed = Listed {
        names,
        whose: None,
        kind: CapabilityKind::Template,
        reference: reference(reference_text).map_err(|what| (1, what))?,
        life: Life::Living,
        expires_at: None,
        read_only: false,
        details: details::document(fields),
        place: path.display().to_string(),
    };
    Ok((name, listed))
}

/// What stands between the first two lines of three dashes.
fn front_matter(text: &str) -> Result<&str, (u64, String)> {
    let rest = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n"));
    let rest = rest.ok_or((1, "does not begin with a line of three dashes".to_owned()))?;
    let mut length = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Ok(&rest[..length]);
        }
        length += line.len();
    }
    Err((1, "its front matter has no end".to_owned()))
}

fn text_of(fields: &Fields<String, Value>, name: &str) -> Result<Option<String>, (u64, String)> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err((1, format!("{name} is no text, or empty"))),
    }
}

fn check_types(fields: &Fields<String, Value>) -> Result<(), String> {
    let list = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    for (name, fits, wanted) in [
        ("description", Value::is_string as fn(&Value) -> bool, "a text"),
        ("labels", list, "a list of texts"),
        ("keywords", list, "a list of texts"),
        ("trust_tier", |value: &Value| value.is_i64() || value.is_u64(), "a whole number"),
        ("fuel_grade", |value: &Value| value.as_str().is_some_and(|grade| GRADES.contains(&grade)), "a fuel grade"),
    ] {
        if let Some(value) = fields.get(name).filter(|value| !value.is_null())
            && !fits(value)
        {
            return Err(format!("{name} is not {wanted}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::symlink;

    use tokio::sync::mpsc;

    use super::*;

    fn items(root: &Path) -> Vec<Item> {
        let (sender, mut items) = mpsc::channel(1000);
        list_tree(root, &mut HashMap::new(), &Sink::new(sender)).unwrap();
        std::iter::from_fn(|| items.try_recv().ok()).collect()
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn each_kind_of_damage_is_told_by_itself_and_the_good_ones_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("skills");
        let good =
            "---\nname: loom\ndescription: Reads a migration\nlabels: [review]\ntrust_tier: 2\n---\nLook.\n";
        write(&root, "a/review/SKILL.md", good);
        write(&root, "b/again/SKILL.md", good);
        write(&root, "c/open/SKILL.md", "---\nname: x\n");
        write(&root, "d/none/SKILL.md", "hello\n");
        write(&root, "e/nameless/SKILL.md", "---\ndescription: y\n---\n");
        write(&root, "f/broken/SKILL.md", "---\nname: z\nlabels: [a\n---\n");
        write(&root, "g/grade/SKILL.md", "---\nname: g\nfuel_grade: kerosene\n---\n");
        write(&root, "h/large/SKILL.md", &format!("---\nname: h\n---\n{}", "x".repeat(1 << 20)));
        write(&root, "cards/one.json", "{\"skill_id\": \"card-1\", \"name\": \"one\", \"author_agent\": \"loom\"}");
        write(dir.path(), "outside/SKILL.md", good);
        symlink(dir.path().join("outside"), root.join("out")).unwrap();
        let found = items(&root);
        let refs: Vec<String> = found
            .iter()
            .filter_map(|item| match item {
                Item::Listed(listed) => Some(listed.reference.to_string()),
                Item::Wrong { .. } => None,
            })
            .collect();
        assert_eq!(refs, ["review", "card-1"]);
        let named = |reference: &str| {
            found.iter().find_map(|item| match item {
                Item::Listed(listed) if listed.reference.as_str() == reference => Some(listed.names.clone()),
                _ => None,
            })
        };
        assert_eq!(named("review").unwrap(), ["review"], "what it calls itself is nobody's holder");
        assert_eq!(named("card-1").unwrap(), ["card-1", "author:loom"]);
        let wrong: Vec<(String, String)> = found
            .iter()
            .filter_map(|item| match item {
                Item::Wrong { place, what } => {
                    Some((place.strip_prefix(root.to_str().unwrap()).unwrap().to_owned(), what.clone()))
                }
                Item::Listed(_) => None,
            })
            .collect();
        for (place, says) in [
            ("/b/again/SKILL.md:1", "a second skill named"),
            ("/c/open/SKILL.md:1", "no end"),
            ("/d/none/SKILL.md:1", "three dashes"),
            ("/e/nameless/SKILL.md:1", "name is missing"),
            ("/f/broken/SKILL.md:", ""),
            ("/g/grade/SKILL.md:1", "fuel_grade is not a fuel grade"),
            ("/h/large/SKILL.md:1", "more than 1 MiB"),
            ("/out", "leads out of its root"),
        ] {
            let told = wrong.iter().any(|(at, what)| at.starts_with(place) && what.contains(says));
            assert!(told, "{place} {says}: {wrong:#?}");
        }
        assert_eq!(wrong.len(), 8, "{wrong:#?}");
    }

    #[test]
    fn a_root_that_is_not_there_says_nothing_about_its_skills() {
        let (sender, _items) = mpsc::channel(1);
        let missing = list_tree(Path::new("/nowhere/at/all"), &mut HashMap::new(), &Sink::new(sender)).unwrap_err();
        assert_eq!(missing.kind, domain::grant::event::FailureKind::Unreachable);
    }
}
