//! What the server serves: the descriptors of its services, for tools that do
//! not have them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::rpc::Listener;
use crate::wire::{Described, ReflectAnswer, ReflectAsk, described};

/// Adds the reflection service to a listener.
pub fn reflection(listener: Listener) -> Listener {
    let index = Arc::new(Index::new(described()));
    listener.reflection(move |query| {
        let answer = index.answer(&query.ask());
        query.reply(answer)
    })
}

struct Index {
    files: Vec<Described>,
    by_name: HashMap<String, usize>,
    by_symbol: HashMap<String, usize>,
}

impl Index {
    fn new(files: Vec<Described>) -> Self {
        let mut by_name = HashMap::new();
        let mut by_symbol = HashMap::new();
        for (at, file) in files.iter().enumerate() {
            by_name.insert(file.name.clone(), at);
            by_symbol.extend(file.symbols.iter().map(|symbol| (symbol.clone(), at)));
        }
        Self {
            files,
            by_name,
            by_symbol,
        }
    }

    fn answer(&self, ask: &ReflectAsk<'_>) -> ReflectAnswer {
        match *ask {
            ReflectAsk::File(name) => self.file(self.by_name.get(name), "file", name),
            ReflectAsk::Symbol(name) => self.file(self.by_symbol.get(name), "symbol", name),
            ReflectAsk::Extension(name) => self.file(None, "extension of", name),
            ReflectAsk::ExtensionNumbers(name) => match self.by_symbol.contains_key(name) {
                true => ReflectAnswer::NoExtensions(name.to_owned()),
                false => ReflectAnswer::NotFound(format!("type {name}")),
            },
            ReflectAsk::Services => {
                let services = self.files.iter().flat_map(|file| file.services.clone());
                ReflectAnswer::Services(services.collect())
            }
            ReflectAsk::Nothing => ReflectAnswer::Unimplemented,
        }
    }

    /// A file and all that it imports, directly or not.
    fn file(&self, at: Option<&usize>, what: &str, name: &str) -> ReflectAnswer {
        let Some(&at) = at else {
            return ReflectAnswer::NotFound(format!("{what} {name}"));
        };
        let mut order = vec![at];
        let mut seen = HashSet::from([at]);
        let mut next = 0;
        while let Some(file) = order.get(next).map(|&at| &self.files[at]) {
            let imports = file.imports.iter().filter_map(|i| self.by_name.get(i));
            order.extend(imports.filter(|&&at| seen.insert(at)));
            next += 1;
        }
        ReflectAnswer::Files(
            order
                .iter()
                .map(|&at| self.files[at].bytes.clone())
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, imports: &[&str]) -> Described {
        Described {
            name: name.to_owned(),
            imports: imports.iter().map(|&i| i.to_owned()).collect(),
            services: Vec::new(),
            symbols: vec![format!("p.{name}")],
            bytes: name.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_file_comes_with_all_that_it_imports_and_each_once() {
        let index = Index::new(vec![
            file("a", &["b", "c"]),
            file("b", &["c", "elsewhere"]),
            file("c", &["a"]),
        ]);
        let files = |names: &[&str]| {
            ReflectAnswer::Files(names.iter().map(|n| n.as_bytes().to_vec()).collect())
        };
        assert_eq!(
            index.answer(&ReflectAsk::File("a")),
            files(&["a", "b", "c"])
        );
        assert_eq!(
            index.answer(&ReflectAsk::Symbol("p.c")),
            files(&["c", "a", "b"])
        );
        let nothing = ReflectAnswer::NotFound("symbol c".to_owned());
        assert_eq!(index.answer(&ReflectAsk::Symbol("c")), nothing);
    }

    #[test]
    fn every_service_field_and_value_is_found() {
        let index = Index::new(described());
        for symbol in [
            "itu.chitchat.ChatService",
            "itu.chitchat.ChatService.Chat",
            "itu.chitchat.JoinMsgLeave",
            "itu.chitchat.JoinMsgLeave.client_name",
            "itu.chitchat.EventType",
            "itu.chitchat.LEAVE",
            "grpc.health.v1.HealthCheckResponse.ServingStatus",
            "grpc.health.v1.HealthCheckResponse.SERVING",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ] {
            let answer = index.answer(&ReflectAsk::Symbol(symbol));
            assert!(matches!(answer, ReflectAnswer::Files(_)), "{symbol}");
        }
        let ReflectAnswer::Services(services) = index.answer(&ReflectAsk::Services) else {
            panic!("services are listed");
        };
        assert_eq!(services.len(), 4, "{services:?}");
    }
}
