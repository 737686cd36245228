//! `fs:skills`: a tree of folders, each with a SKILL.md whose front matter says what it is; or one JSON card a skill.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use domain::grant::kind::{CapabilityKind, CapabilityRef};
use serde_json::{Map as Fields, Value};

use crate::details::{self, Secrets};
use crate::shape::{self, Shape};
use crate::{About, Life, Listed, Map, Place, Sink, Unlisted, files, reference};

const SKILL: &str = "SKILL.md";
const OPTIONAL: [(&str, Shape); 8] = [
    ("description", Shape::Text),
    ("labels", Shape::Texts),
    ("keywords", Shape::Texts),
    ("tags", Shape::Texts),
    ("trust_tier", Shape::Whole),
    ("fuel_grade", Shape::OneOf(&["diesel", "regular", "premium", "aviation"])),
    ("metadata", Shape::Mapping),
    ("license", Shape::Text),
];

const NEEDED: [&str; 3] = ["name", "skill_id", "author_agent"];

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
fn list_tree(root: &Path, seen: &mut HashMap<String, (String, CapabilityRef)>, sink: &Sink) -> Result<(), Unlisted> {
    let found = files::find(root, |name| name == SKILL || name.ends_with(".json"), About::named, sink)?;
    let folders: HashSet<&Path> = found
        .iter()
        .filter(|path| is_skill(path))
        .filter_map(|path| path.parent())
        .filter(|path| *path != root)
        .collect();
    for path in &found {
        sink.still_heard()?;
        let is_skill = is_skill(path);
        // What lies in a skill's folder belongs to it, and is no card of another one.
        if !is_skill && path.ancestors().skip(1).any(|folder| folders.contains(folder)) {
            continue;
        }
        let read = if is_skill { skill(path) } else { card(path) };
        let wrong = |line: u64, what: String| {
            let about =
                if is_skill { folder(path).map_or(About::Anything, |name| About::named(&name)) } else { about(path) };
            sink.blocking_wrong(format!("{}:{line}", path.display()), what, about);
        };
        match read {
            Ok((name, listed)) => match seen.get(&name) {
                Some((first, reference)) => {
                    let what = format!("a second skill named {name:?}, the first is {first}: neither counts");
                    let both = About::Twice(vec![listed.reference, reference.clone()]);
                    sink.blocking_wrong(format!("{}:1", path.display()), what, both);
                }
                None => {
                    seen.insert(name, (listed.place.clone(), listed.reference.clone()));
                    sink.blocking(listed);
                }
            },
            Err((line, what)) => wrong(line, what),
        }
    }
    Ok(())
}

fn is_skill(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == SKILL)
}

fn folder(path: &Path) -> Option<String> {
    path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned())
}

/// Which skill a card that is wrong is about.
fn about(path: &Path) -> About {
    let fields = files::read(path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let id = fields.as_ref().and_then(|fields| fields.get("skill_id")).and_then(Value::as_str);
    id.filter(|id| !id.is_empty()).map_or(About::Anything, About::named)
}

fn skill(path: &Path) -> Result<(String, Listed), (u64, String)> {
    let text = files::read(path).map_err(|what| (1, what))?;
    read_skill(path, &text).map_err(|wrong| placed(&text, wrong))
}

/// What is said of a field is said where the field stands.
fn placed(text: &str, (line, what): (u64, String)) -> (u64, String) {
    let field = what.split(' ').next().unwrap_or_default();
    let known = OPTIONAL.iter().any(|(name, _)| *name == field) || NEEDED.contains(&field);
    (if known && line == 1 { files::line_of(text, field) } else { line }, what)
}

fn read_skill(path: &Path, text: &str) -> Result<(String, Listed), (u64, String)> {
    let fields = files::yaml(front_matter(text)?, 1)?;
    let folder = folder(path).ok_or((1, "lies in no folder".to_owned()))?;
    let name = text_of(&fields, "name")?.ok_or((1, "name is missing".to_owned()))?;
    shape::check(&fields, &OPTIONAL).map_err(|what| (1, what))?;
    let author = fields.get("metadata").and_then(|metadata| metadata.get("author")).and_then(Value::as_str);
    listed(path, &folder, name, crate::names(&folder, "author", author), fields)
}

fn card(path: &Path) -> Result<(String, Listed), (u64, String)> {
    let text = files::read(path).map_err(|what| (1, what))?;
    read_card(path, &text).map_err(|wrong| placed(&text, wrong))
}

fn read_card(path: &Path, text: &str) -> Result<(String, Listed), (u64, String)> {
    let fields: Fields<String, Value> =
        serde_json::from_str(text).map_err(|error| (error.line() as u64, "is no JSON object".to_owned()))?;
    let id = text_of(&fields, "skill_id")?.ok_or((1, "skill_id is missing".to_owned()))?;
    let name = text_of(&fields, "name")?.ok_or((1, "name is missing".to_owned()))?;
    let author = text_of(&fields, "author_agent")?;
    shape::check(&fields, &OPTIONAL).map_err(|what| (1, what))?;
    listed(path, &id, name, crate::names(&id, "author", author.as_deref()), fields)
}

fn listed(
    path: &Path,
    reference_text: &str,
    name: String,
    names: Vec<String>,
    fields: Fields<String, Value>,
) -> Result<(String, Listed), (u64, String)> {
    let secrets = Secrets::of(&fields);
    secrets.check("its name", reference_text).map_err(|what| (1, what))?;
    let listed = Listed {
        names,
        whose: None,
        kind: CapabilityKind::Template,
        reference: reference(reference_text).map_err(|what| (1, what))?,
        identity: None,
        life: Life::Living,
        expires_at: None,
        read_only: false,
        details: details::document(fields, &secrets, []),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::symlink;

    use tokio::sync::mpsc;

    use super::*;
    use crate::{Item, Wrong};

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
        let good = "---\nname: loom\ndescription: Reads a migration\nlabels: [review]\ntrust_tier: 2\n---\nLook.\n";
        write(&root, "a/review/SKILL.md", good);
        write(&root, "b/again/SKILL.md", good);
        write(&root, "c/open/SKILL.md", "---\nname: x\n");
        write(&root, "d/none/SKILL.md", "hello\n");
        write(&root, "e/nameless/SKILL.md", "---\ndescription: y\n---\n");
        write(&root, "f/broken/SKILL.md", "---\nname: z\nlabels: [a\n---\n");
        write(&root, "g/grade/SKILL.md", "---\nname: g\nfuel_grade: kerosene\n---\n");
        write(&root, "h/large/SKILL.md", &format!("---\nname: h\n---\n{}", "x".repeat(1 << 20)));
        write(&root, "a/marked/SKILL.md", "\u{feff}---\r\nname: marked\r\n---\r\nLook.\r\n");
        write(
            &root,
            "cards/one.json",
            "\u{feff}{\"skill_id\": \"card-1\", \"name\": \"one\", \"author_agent\": \"loom\"}",
        );
        write(&root, "cards/two.json", "{\"skill_id\": \"card-2\"}");
        write(&root, "cards/three.json", "{}");
        write(&root, "a/review/assets/package.json", "{}");
        write(dir.path(), "outside/SKILL.md", good);
        symlink(dir.path().join("outside"), root.join("out")).unwrap();
        let found = items(&root);
        let refs: Vec<String> = found
            .iter()
            .filter_map(|item| match item {
                Item::Listed(listed) => Some(listed.reference.to_string()),
                Item::Wrong(_) => None,
            })
            .collect();
        assert_eq!(refs, ["marked", "review", "card-1"]);
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
                Item::Wrong(Wrong { place, what, about }) => {
                    let place = place.strip_prefix(root.to_str().unwrap()).unwrap().to_owned();
                    Some((place, format!("{what}; {about:?}")))
                }
                Item::Listed(_) => None,
            })
            .collect();
        for (place, says) in [
            ("/b/again/SKILL.md:1", "/a/review/SKILL.md: neither counts; Twice([again, review])"),
            ("/c/open/SKILL.md:1", "no end; Refs([open])"),
            ("/d/none/SKILL.md:1", "three dashes; Refs([none])"),
            ("/e/nameless/SKILL.md:1", "name is missing; Refs([nameless])"),
            ("/f/broken/SKILL.md:", "; Refs([broken])"),
            ("/g/grade/SKILL.md:3", "fuel_grade is not one of diesel, regular, premium, aviation; Refs([grade])"),
            ("/h/large/SKILL.md:1", "more than 1 MiB; Refs([large])"),
            ("/out", "leads out of its root, or nowhere; Refs([out])"),
            ("/cards/two.json:1", "name is missing; Refs([card-2])"),
            ("/cards/three.json:1", "skill_id is missing; Anything"),
        ] {
            let told = wrong.iter().any(|(at, what)| at.starts_with(place) && what.contains(says));
            assert!(told, "{place} {says}: {wrong:#?}");
        }
        assert_eq!(wrong.len(), 10, "{wrong:#?}");
    }

    #[test]
    fn a_root_that_is_not_there_says_nothing_about_its_skills() {
        let (sender, _items) = mpsc::channel(1);
        let missing = list_tree(Path::new("/nowhere/at/all"), &mut HashMap::new(), &Sink::new(sender)).unwrap_err();
        assert_eq!(missing.kind, domain::grant::event::FailureKind::Unreachable);
    }
}
