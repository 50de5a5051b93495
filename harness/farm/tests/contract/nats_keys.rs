//! Credentials as an operator of NATS gives them out: a chain of signed claims, and a `.creds` file at its end.

use crate::{checks::job, nats::options, server::NatsServer};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use farm::queue::{
    Queue, QueueError,
    nats::{Identity, NatsOptions, NatsQueue},
};
use nkeys::KeyPair;
use serde_json::{Value, json};
use std::fs;

/// What `issuer` says of `subject`, signed.
fn signed(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let encoded = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encoded(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = json!({
        "jti": subject.public_key(), "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "test",
        "sub": subject.public_key(), "nats": nats,
    });
    let text = format!("{header}.{}", encoded(claims));
    let signature = issuer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn account(operator: &KeyPair, account: &KeyPair, storage: i64) -> String {
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
        "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
    });
    signed(operator, account, json!({ "limits": limits, "type": "account", "version": 2 }))
}

fn creds(of: &KeyPair, user: &KeyPair) -> String {
    let rights =
        json!({ "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2 });
    format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        signed(of, user, rights),
        user.seed().unwrap()
    )
}

#[tokio::test]
async fn a_creds_file_opens_the_account_that_it_is_of() {
    let (operator, system, ours, stranger) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_account());
    let config = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}\n {}: {} }}",
        signed(&operator, &operator, json!({ "type": "operator", "version": 2 })),
        system.public_key(),
        system.public_key(),
        account(&operator, &system, 0),
        ours.public_key(),
        account(&operator, &ours, -1),
    );
    let Some(server) = NatsServer::start("credentials of NATS", &config) else { return };
    let as_who = |account: &KeyPair, name: &str| {
        let path = server.path(name);
        fs::write(&path, creds(account, &KeyPair::new_user())).unwrap();
        NatsOptions { identity: Identity::Credentials(path), ..options(&server.url(), "keys") }
    };
    let queue = NatsQueue::connect(&as_who(&ours, "ours.creds")).await.unwrap();
    assert_eq!(queue.offer(&[job(1, "pi")]).await.unwrap(), 1);
    let why = NatsQueue::connect(&as_who(&stranger, "stranger.creds")).await.map(drop).unwrap_err();
    assert!(matches!(&why, QueueError::Refused(w) if w.contains("authorization violation")), "{why}");
}
