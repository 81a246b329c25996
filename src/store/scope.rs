//! The accounts and Regions that executions belong to, each one's text once.

use std::sync::Arc;

use hashbrown::HashMap;

use super::page::Block;
use crate::execution::{ExecutionId, ExecutionKey, Scope, TargetArn};
use crate::text;

/// An account and a Region in a partition.
#[derive(Clone, Debug)]
pub(super) struct KnownScope {
    pub(super) scope: Scope,
    /// `arn:PARTITION:iot:REGION:ACCOUNT:`, which needs no escaping.
    pub(super) arn_prefix: Box<str>,
    /// Where the value of the label `target` begins in the labels of its executions.
    target_at: usize,
}

impl KnownScope {
    /// The escaped value of the label `target`.
    pub(super) fn target<'a>(&self, block: Block<'a>) -> &'a str {
        &block.text[self.target_at..][..usize::from(block.target_len)]
    }

    /// The key of an execution, read back from its labels.
    pub(super) fn key(&self, block: Block<'_>) -> ExecutionKey {
        let target = self.target(block);
        let id_at = self.target_at + target.len() + "\",execution_id=\"".len();
        let id = &block.text[id_at..usize::from(block.identity_len) - "\"".len()];
        let arn = format!("{}{}", self.arn_prefix, text::unescaped(target));
        ExecutionKey {
            target: TargetArn::parse(&arn).expect("the labels were made of a parsed ARN"),
            id: ExecutionId::parse(id).expect("the labels were made of a parsed ID"),
        }
    }
}

/// Every account and Region met so far: as few as the operator has configured.
#[derive(Debug, Default)]
pub(super) struct ScopeTable {
    pub(super) list: Arc<Vec<KnownScope>>,
    places: HashMap<Box<str>, u32>,
}

impl ScopeTable {
    /// The place of the target's account and Region in the list.
    pub(super) fn place(&mut self, target: &TargetArn) -> u32 {
        let arn = target.as_str();
        let arn_prefix = &arn[..arn.len() - target.resource().len()];
        if let Some(place) = self.places.get(arn_prefix) {
            return *place;
        }
        let place = u32::try_from(self.list.len()).expect("there are fewer scopes than executions");
        let scope = target.scope();
        let mut labels = String::new();
        push_scope(&mut labels, &scope.account_id, &scope.region);
        let target_at = labels.len() + ",target=\"".len();
        self.places.insert(arn_prefix.into(), place);
        Arc::make_mut(&mut self.list).push(KnownScope { scope, arn_prefix: arn_prefix.into(), target_at });
        place
    }
}

/// The labels of an execution as they are kept and shown, and the lengths of their parts.
#[derive(Debug)]
pub(super) struct Prepared {
    text: String,
    identity_len: u16,
    target_len: u16,
}

impl Prepared {
    pub(super) fn new(key: &ExecutionKey, declared: &[(&str, &str)]) -> Self {
        const BOUNDED: &str = "an ARN's name has at most 1,024 bytes, 2,048 escaped, an ID 64";
        let mut target = String::new();
        text::push_escaped(&mut target, key.target.resource());
        let target_len = u16::try_from(target.len()).expect(BOUNDED);
        let mut text = String::with_capacity(256);
        push_scope(&mut text, key.target.account_id(), key.target.region());
        for part in [",target=\"", &target, "\""] {
            text.push_str(part);
        }
        text::push_label(&mut text, "execution_id", key.id.as_str());
        let identity_len = u16::try_from(text.len()).expect(BOUNDED);
        for (name, value) in declared {
            text::push_label(&mut text, name, value);
        }
        Self { text, identity_len, target_len }
    }

    pub(super) fn block(&self, scope: u32) -> Block<'_> {
        Block { text: &self.text, identity_len: self.identity_len, target_len: self.target_len, scope }
    }
}

fn push_scope(out: &mut String, account_id: &str, region: &str) {
    text::push_label(out, "account_id", account_id);
    text::push_label(out, "region", region);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_read_back_from_their_labels(
            target in "(thing|client)/(\\PC|[\\\\\"]){1,80}",
            id in "[A-Za-z0-9_-]{1,64}",
            site in "(\\PC|[\\\\\"\n]){0,20}",
        ) {
            let target = TargetArn::parse(&format!("arn:aws-cn:iot:cn-north-1:123456789012:{target}")).unwrap();
            let key = ExecutionKey { target, id: ExecutionId::parse(&id).unwrap() };
            let prepared = Prepared::new(&key, &[("site", &site)]);
            let mut scopes = ScopeTable::default();
            let place = scopes.place(&key.target);
            prop_assert_eq!(scopes.place(&key.target), place);
            prop_assert_eq!(scopes.list[place as usize].key(prepared.block(place)), key);
        }
    }
}
