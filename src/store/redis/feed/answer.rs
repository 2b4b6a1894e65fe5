//! What a server says about itself, and about the other masters.

use std::collections::BTreeMap;

use redis::{Cmd, RedisError, Value};

use super::lost;
use crate::store::redis::reply;

/// What the servers are asked. No server answers it while a script runs for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    OfOne,
    OfCluster,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Who answers: another after each start, or in a Cluster the node.
    pub(super) id: String,
    /// All masters, the one that answers perhaps among them, and where they are.
    pub(super) masters: BTreeMap<String, String>,
}

impl Question {
    pub(super) fn command(self) -> Cmd {
        let (name, arguments) = match self {
            Self::OfOne => ("INFO", &["server", "replication"][..]),
            Self::OfCluster => ("CLUSTER", &["NODES"][..]),
        };
        let mut command = redis::cmd(name);
        command.arg(arguments);
        command
    }

    pub(super) fn read(self, answer: &Value) -> Result<Answer, RedisError> {
        let text = reply::bytes(answer).and_then(|text| std::str::from_utf8(text).ok());
        let read = match self {
            Self::OfOne => of_one,
            Self::OfCluster => of_cluster,
        };
        text.and_then(read).ok_or_else(|| lost("the server doesn't say whether it is a master"))
    }
}

fn of_one(info: &str) -> Option<Answer> {
    let value = |name| info.lines().find_map(|line| line.strip_prefix(name));
    let id = value("run_id:")?.to_owned();
    let is_master = value("role:")? == "master";
    let masters = is_master.then(|| (id.clone(), String::new())).into_iter().collect();
    Some(Answer { id, masters })
}

/// A line has id, address, flags, master, two times, epoch, the state of the link, and slots.
fn of_cluster(nodes: &str) -> Option<Answer> {
    let (mut id, mut masters) = (None, BTreeMap::new());
    for line in nodes.lines() {
        let mut parts = line.split(' ');
        let (node, address, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let has = |flag| flags.split(',').any(|found| found == flag);
        if has("myself") {
            id = Some(node.to_owned());
        }
        // One that has failed, or is not known any more, can serve nothing once it has no slots.
        let is_out = (has("fail") || has("noaddr")) && parts.nth(5).is_none();
        if has("master") && !is_out {
            masters.insert(node.to_owned(), address.to_owned());
        }
    }
    Some(Answer { id: id?, masters })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masters(question: Question, text: &str) -> Option<Vec<String>> {
        let answer = question.read(&Value::BulkString(text.into())).ok()?;
        Some(answer.masters.into_keys().collect())
    }

    #[test]
    fn only_a_master_names_itself() {
        let info = |role: &str| format!("# Server\r\nrun_id:ab\r\n\r\nrole:{role}\r\n");
        assert_eq!(masters(Question::OfOne, &info("master")), Some(vec!["ab".into()]));
        assert_eq!(masters(Question::OfOne, &info("slave")), Some(vec![]));
        assert_eq!(masters(Question::OfOne, "role:master\r\n"), None);
        assert_eq!(masters(Question::OfOne, "run_id:ab\r\n"), None);
        assert!(Question::OfOne.read(&Value::Okay).is_err());
    }

    #[test]
    fn masters_are_all_that_may_serve_slots() {
        let nodes = "a h:1@2 myself,master - 0 0 1 connected 0-9 [10->-b]\n\
                     b [::1]:1@2,name master - 0 0 0 connected\n\
                     c :0@0 master,fail? - 0 0 3 disconnected\n\
                     d h:1@2 master,fail - 0 0 4 disconnected 11-12\n\
                     e h:1@2 master,fail - 0 0 5 disconnected\n\
                     f :0@0 master,noaddr - 0 0 5 disconnected\n\
                     g h:1@2 slave a 0 0 1 connected\n\
                     h h:1@2 handshake - 0 0 0 connected\n";
        let named = ["a", "b", "c", "d"].map(String::from);
        assert_eq!(masters(Question::OfCluster, nodes), Some(named.into()));
        let answer = Question::OfCluster.read(&Value::BulkString(nodes.into())).unwrap();
        assert_eq!((answer.id.as_str(), answer.masters["b"].as_str()), ("a", "[::1]:1@2,name"));
        for broken in ["", "a", "a h:1@2", "a h:1@2 master - 0 0 1 connected\n", "\n\n"] {
            assert_eq!(masters(Question::OfCluster, broken), None, "{broken:?}");
        }
    }
}
