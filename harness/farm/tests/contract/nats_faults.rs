//! What goes wrong with a server and the way to it: each has a name, nothing is lost and nothing counts twice.

use crate::{
    checks::{class, job, result},
    link::Link,
    nats::{TEST_LEASE, options},
    server::NatsServer,
};
use farm::{
    archive,
    job::{Job, JobFile, JobId, Record},
    queue::{
        Queue, QueueError,
        nats::{Identity, Limits, NatsOptions, NatsQueue, Objects, TlsFiles},
    },
    remote,
};
use nkeys::KeyPair;
use protocol::Sha256Hex;
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

/// Long enough for an answer.
const SOON: Duration = Duration::from_millis(500);
/// Longer than any lease of a test, and than a client needs to come back.
const LATE: Duration = Duration::from_secs(60);

/// A server for the test of that name; without one, the test is left out.
macro_rules! server {
    ($more:expr) => {
        match NatsServer::start(std::thread::current().name().unwrap_or("a test of NATS"), $more) {
            Some(server) => server,
            None => return,
        }
    };
}

async fn connect(url: &str) -> Result<NatsQueue, QueueError> {
    NatsQueue::connect(&options(url, "faults")).await
}

#[track_caller]
fn refused(connected: Result<NatsQueue, QueueError>, word: &str) {
    match connected.map(drop).unwrap_err() {
        QueueError::Refused(why) => {
            assert!(why.contains(word), "{why}");
            assert!(!why.contains("secret"), "{why}");
        }
        other => panic!("{other}"),
    }
}

/// Everything that is there is taken and done; says what was.
async fn drain(queue: &NatsQueue) -> Vec<JobId> {
    let mut did = Vec::new();
    while let Some(taken) = queue.take(&class("pi"), 2 * TEST_LEASE).await.unwrap() {
        if queue.finish(&taken.lease, &result(&taken.job, taken.attempt)).await.unwrap() {
            did.push(taken.job.id);
        }
    }
    did
}

/// Every result of the night, each once collected.
async fn collect(queue: &NatsQueue) -> Vec<JobId> {
    let mut all = Vec::new();
    while let Some(result) = queue.result("n1", SOON).await.unwrap() {
        queue.collected(&result.job).await.unwrap();
        all.push(result.job);
    }
    all
}

fn ids(jobs: &[Job]) -> BTreeSet<JobId> {
    jobs.iter().map(|job| job.id.clone()).collect()
}

#[track_caller]
fn each_once(all: Vec<JobId>, jobs: &[Job]) {
    assert_eq!(all.len(), jobs.len());
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), ids(jobs));
}

#[tokio::test]
async fn nobody_there_and_nobody_who_answers() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let why = connect(&format!("nats://me:secret@127.0.0.1:{port}")).await.map(drop).unwrap_err();
    assert!(
        matches!(&why, QueueError::Unreachable(w) if w.contains("refused") && !w.contains("secret")),
        "{why}"
    );
    // something that is no nats-server
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", other.local_addr().unwrap());
    let talks = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let why = connect(&url).await.map(drop).unwrap_err();
    assert!(matches!(why, QueueError::Unreachable(_)), "{why}");
    talks.join().unwrap();
}

#[tokio::test]
async fn who_has_wrong_credentials_is_refused() {
    let mut server = server!("authorization { user: me, password: secret }");
    let url = |who: &str| format!("nats://{who}127.0.0.1:{}", server.port());
    refused(connect(&url("")).await, "authorization violation");
    refused(connect(&url("me:secret2@")).await, "give credentials");
    let queue = connect(&url("me:secret@")).await.unwrap();
    let user = Identity::User { name: "me".to_owned(), password: "secret".to_owned() };
    NatsQueue::connect(&NatsOptions { identity: user, ..options(&url(""), "faults") }).await.unwrap();
    // they are changed while we are at work
    queue.offer(&[job(1, "pi")]).await.unwrap();
    server.again_with("authorization { user: me, password: other }");
    let why = tokio::time::timeout(LATE, async {
        loop {
            if let Err(why @ QueueError::Refused(_)) = queue.take(&class("pi"), SOON).await {
                break why;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(why.await.unwrap().to_string().contains("credentials"));
    server.again_with("authorization { token: secret }");
    refused(connect(&server.url()).await, "authorization violation");
    let token =
        NatsOptions { identity: Identity::Token("secret".to_owned()), ..options(&server.url(), "faults") };
    let queue = NatsQueue::connect(&token).await.unwrap();
    assert_eq!(queue.take(&class("pi"), SOON).await.unwrap().unwrap().job, job(1, "pi"), "nothing was lost");
}

#[tokio::test]
async fn keys_and_credential_files_are_read_and_named_when_they_are_wrong() {
    let key = KeyPair::new_user();
    let (seed, public) = (key.seed().unwrap(), key.public_key());
    let server = server!(&format!("authorization {{ users: [{{ nkey: {public} }}] }}"));
    let path = |name: &str, text: &str| {
        fs::write(server.path(name), text).unwrap();
        server.path(name)
    };
    let as_who = |identity| NatsOptions { identity, ..options(&server.url(), "faults") };
    let good = path("seed.nk", &format!("# of the farm\n{seed}\n"));
    NatsQueue::connect(&as_who(Identity::NKey(good))).await.unwrap();
    let empty = path("empty.nk", "nothing");
    refused(
        NatsQueue::connect(&as_who(Identity::NKey(empty.clone()))).await,
        "empty.nk: no line with the seed",
    );
    refused(
        NatsQueue::connect(&as_who(Identity::Credentials(empty))).await,
        "empty.nk: no credentials of NATS",
    );
    let none = Identity::Credentials("/none/x.creds".into());
    refused(NatsQueue::connect(&as_who(none)).await, "/none/x.creds: No such file");
    let other = path("other.nk", &KeyPair::new_user().seed().unwrap());
    refused(NatsQueue::connect(&as_who(Identity::NKey(other))).await, "authorization violation");
}

#[tokio::test]
async fn a_server_without_jetstream_or_rights_is_named() {
    let server = server!("accounts { A: { users: [{ user: a, password: secret }] } }");
    let url = format!("nats://a:secret@127.0.0.1:{}", server.port());
    refused(connect(&url).await, "JetStream");
    let server = server!(
        "authorization { users: [{ user: a, password: secret, permissions: { publish: [\"$JS.API.INFO\"] } }] }"
    );
    let url = format!("nats://a:secret@127.0.0.1:{}", server.port());
    refused(connect(&url).await, "ermissions");
}

/// Keys and certificates in a folder: a CA, a server for 127.0.0.1, a client; and a CA that nobody knows.
fn certificates(folder: &Path) {
    let openssl = |line: &str| {
        let output = Command::new("openssl").current_dir(folder).args(line.split(' ')).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    for ca in ["ca", "stranger"] {
        openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={ca} -keyout {ca}.key \
             -out {ca}.pem -addext basicConstraints=critical,CA:TRUE"
        ));
    }
    for (name, san) in [("server", "IP:127.0.0.1"), ("client", "DNS:client")] {
        openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        fs::write(folder.join("ext"), format!("subjectAltName={san}\nbasicConstraints=CA:FALSE\n")).unwrap();
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out {name}.pem"
        ));
    }
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_right_ca_vouches_for() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    let mut server = server!(&format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}",
        file("server.pem"),
        file("server.key")
    ));
    let url = format!("tls://127.0.0.1:{}", server.port());
    let with = |tls: TlsFiles| NatsOptions { tls, ..options(&url, "faults") };
    let ca = |name: &str| TlsFiles { ca: Some(file(name)), ..TlsFiles::default() };
    NatsQueue::connect(&with(ca("ca.pem"))).await.unwrap().offer(&[job(1, "pi")]).await.unwrap();
    for (tls, word) in [(ca("stranger.pem"), "certificate"), (TlsFiles::default(), "certificate")] {
        let why = NatsQueue::connect(&with(tls)).await.map(drop).unwrap_err().to_string();
        assert!(why.contains(word), "{why}");
    }
    refused(NatsQueue::connect(&with(ca("none.pem"))).await, "none.pem: No such file");
    let half = TlsFiles { cert: Some(file("client.pem")), ..ca("ca.pem") };
    refused(NatsQueue::connect(&with(half)).await, "belong together");
    server.again_with(&format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        file("server.pem"),
        file("server.key"),
        file("ca.pem")
    ));
    NatsQueue::connect(&with(ca("ca.pem"))).await.map(drop).unwrap_err();
    let client = TlsFiles { cert: Some(file("client.pem")), key: Some(file("client.key")), ..ca("ca.pem") };
    let queue = NatsQueue::connect(&with(client)).await.unwrap();
    assert_eq!(queue.take(&class("pi"), SOON).await.unwrap().unwrap().job, job(1, "pi"));
    // a server that cannot do TLS must not be talked to without
    let plain = server!("");
    let url = format!("tls://127.0.0.1:{}", plain.port());
    NatsQueue::connect(&options(&url, "faults")).await.map(drop).unwrap_err();
}

#[tokio::test]
async fn a_full_queue_says_so_and_takes_the_rest_later() {
    let server = server!("");
    let mut options = options(&server.url(), "full");
    options.limits.jobs = 3;
    let queue = NatsQueue::connect(&options).await.unwrap();
    let jobs: Vec<Job> = (0..5).map(|n| job(n, "pi")).collect();
    let why = queue.offer(&jobs).await.unwrap_err();
    assert!(matches!(&why, QueueError::Full(w) if w.contains("maximum messages exceeded")), "{why}");
    let mut did = drain(&queue).await;
    assert_eq!(queue.offer(&jobs).await.unwrap(), 2);
    did.extend(drain(&queue).await);
    each_once(did, &jobs);
    each_once(collect(&queue).await, &jobs);
}

#[tokio::test]
async fn without_room_for_its_result_a_job_stays_in_hand() {
    let server = server!("");
    let mut options = options(&server.url(), "full");
    // room for one or two
    options.limits.results_bytes = 700;
    let queue = NatsQueue::connect(&options).await.unwrap();
    let jobs: Vec<Job> = (0..5).map(|n| job(n, "pi")).collect();
    queue.offer(&jobs).await.unwrap();
    let mut did = Vec::new();
    let (in_hand, why) = loop {
        let taken = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
        match queue.finish(&taken.lease, &result(&taken.job, 1)).await {
            Ok(counts) => did.extend(Some(taken.job.id).filter(|_| counts)),
            Err(why) => break (taken, why),
        }
    };
    assert!(matches!(&why, QueueError::Full(w) if w.contains("maximum bytes exceeded")), "{why}");
    assert!(!did.is_empty());
    queue.extend(&in_hand.lease).await.unwrap();
    assert_eq!(collect(&queue).await, did);
}

#[tokio::test]
async fn a_server_without_room_for_the_streams_is_full() {
    let server = server!("");
    let limits = Limits { files_bytes: 1 << 40, ..Limits::default() };
    let why = NatsQueue::connect(&NatsOptions { limits, ..options(&server.url(), "big") })
        .await
        .map(drop)
        .unwrap_err();
    assert!(matches!(&why, QueueError::Full(w) if w.contains("big_files")), "{why}");
}

#[tokio::test]
async fn a_killed_server_has_everything_when_it_is_back() {
    let mut server = server!("");
    let queue = connect(&server.url()).await.unwrap();
    let jobs: Vec<Job> = (0..20).map(|n| job(n, "pi")).collect();
    assert_eq!(queue.offer(&jobs).await.unwrap(), 20);
    let mut did = Vec::new();
    for _ in 0..5 {
        let taken = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
        assert!(queue.finish(&taken.lease, &result(&taken.job, 1)).await.unwrap());
        did.push(taken.job.id);
    }
    let in_hand = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    server.kill();
    let why = queue.extend(&in_hand.lease).await.unwrap_err();
    assert!(matches!(why, QueueError::Unreachable(_)), "{why}");
    server.again();
    // what was done meanwhile is handed over
    let counts = tokio::time::timeout(LATE, async {
        loop {
            if let Ok(counts) = queue.finish(&in_hand.lease, &result(&in_hand.job, 1)).await {
                break counts;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(counts.await.unwrap());
    did.push(in_hand.job.id);
    did.extend(drain(&queue).await);
    each_once(did, &jobs);
    each_once(collect(&queue).await, &jobs);
    assert_eq!(queue.offer(&jobs).await.unwrap(), 0, "they are known");
}

#[tokio::test]
async fn who_is_cut_off_loses_the_job_to_another_and_it_counts_once() {
    let server = server!("");
    let link = Link::to(server.port());
    let far = connect(&link.url()).await.unwrap();
    let near = connect(&server.url()).await.unwrap();
    near.offer(&[job(1, "pi")]).await.unwrap();
    let lost = far.take(&class("pi"), SOON).await.unwrap().unwrap();
    link.cut();
    let again = near.take(&class("pi"), LATE).await.unwrap().unwrap();
    assert_eq!((again.job.id.clone(), again.attempt), (job(1, "pi").id, 2));
    link.mend();
    let late = tokio::time::timeout(LATE, async {
        loop {
            match far.extend(&lost.lease).await {
                Err(QueueError::Unreachable(_)) => tokio::task::yield_now().await,
                other => break other,
            }
        }
    });
    let late = late.await.unwrap();
    assert!(matches!(&late, Err(QueueError::LeaseLost(id)) if *id == lost.job.id), "{late:?}");
    // whoever lost it has not taken it from the other
    near.extend(&again.lease).await.unwrap();
    assert!(near.finish(&again.lease, &result(&again.job, 2)).await.unwrap());
    assert!(!far.finish(&lost.lease, &result(&lost.job, 1)).await.unwrap());
    assert_eq!(collect(&near).await, [lost.job.id]);
    assert!(near.take(&class("pi"), 2 * TEST_LEASE).await.unwrap().is_none());
}

#[tokio::test]
async fn a_result_that_arrived_unheard_counts_when_it_is_handed_over_again() {
    let server = server!("");
    let link = Link::to(server.port());
    let (far, near) = (connect(&link.url()).await.unwrap(), connect(&server.url()).await.unwrap());
    near.offer(&[job(1, "pi")]).await.unwrap();
    let taken = far.take(&class("pi"), SOON).await.unwrap().unwrap();
    // it arrives by another way, word for word, and nobody acknowledges the job
    let ours = result(&taken.job, 1);
    let again = far.finish(&taken.lease, &ours);
    assert!(again.await.unwrap());
    assert!(far.finish(&taken.lease, &ours).await.unwrap(), "the same result is ours");
    assert!(!near.finish(&taken.lease, &result(&taken.job, 2)).await.unwrap());
    assert_eq!(collect(&near).await, [taken.job.id]);
}

#[tokio::test]
async fn a_frozen_server_is_slow_and_not_for_ever() {
    let server = server!("");
    let queue = connect(&server.url()).await.unwrap();
    queue.offer(&[job(1, "pi")]).await.unwrap();
    let taken = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    server.freeze(true);
    let why = queue.extend(&taken.lease).await.unwrap_err();
    assert!(matches!(why, QueueError::Unreachable(_)), "{why}");
    let why = queue.offer(&[job(2, "pi")]).await.unwrap_err();
    assert!(matches!(why, QueueError::Unreachable(_)), "{why}");
    server.freeze(false);
    let offered = tokio::time::timeout(LATE, async { while queue.offer(&[job(2, "pi")]).await.is_err() {} });
    offered.await.unwrap();
    let all = [job(1, "pi"), job(2, "pi")];
    each_once(drain(&queue).await, &all);
    each_once(collect(&queue).await, &all);
}

#[tokio::test]
async fn withdrawn_jobs_leave_the_others_of_their_class_alone() {
    let server = server!("");
    let queue = connect(&server.url()).await.unwrap();
    let other = |n| Job { night: "n2".to_owned(), ..job(n, "pi") };
    let jobs = [job(1, "pi"), other(2), job(3, "pi"), other(4), job(5, "pi"), other(6)];
    queue.offer(&jobs).await.unwrap();
    let in_hand = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    assert_eq!(in_hand.job, jobs[0]);
    let delayed = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    assert_eq!(delayed.job, jobs[1]);
    queue.give_back(&delayed.lease, LATE).await.unwrap();
    let out = queue.withdraw("n2", None).await.unwrap();
    assert_eq!(
        out.into_iter().collect::<BTreeSet<_>>(),
        ids(&[other(2), other(4), other(6)]),
        "the delayed one, too"
    );
    for expected in [&jobs[2], &jobs[4]] {
        assert_eq!(queue.take(&class("pi"), SOON).await.unwrap().unwrap().job, *expected);
    }
    assert!(queue.withdraw("n1", Some("pi")).await.unwrap().is_empty());
    assert!(queue.finish(&in_hand.lease, &result(&in_hand.job, 1)).await.unwrap());
    assert_eq!(queue.offer(&jobs).await.unwrap(), 0);
}

/// Says something on a subject, as any client may.
fn publish(port: u16, subject: &str, text: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let said = format!("CONNECT {{\"verbose\":false}}\r\nPUB {subject} {}\r\n{text}\r\nPING\r\n", text.len());
    stream.write_all(said.as_bytes()).unwrap();
    let mut heard = String::new();
    while !heard.contains("PONG") {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}

#[tokio::test]
async fn what_is_not_ours_is_named_and_does_not_stop_the_others() {
    let server = server!("");
    let queue = connect(&server.url()).await.unwrap();
    for text in ["", "{}", "nonsense", "[[[[[[[[", "{\"id\":\"x\",\"more\":1}"] {
        publish(server.port(), "bench_v1_faults.jobs.pi.n1.x", text);
        let why = queue.take(&class("pi"), SOON).await.unwrap_err();
        assert!(matches!(&why, QueueError::Unreadable(w) if w.contains("jobs.pi.n1.x")), "{why}");
    }
    queue.offer(&[job(1, "pi")]).await.unwrap();
    let taken = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    assert_eq!(taken.job, job(1, "pi"));
    publish(server.port(), "bench_v1_faults.results.n1.x", "nonsense");
    let why = queue.result("n1", SOON).await.unwrap_err();
    assert!(matches!(&why, QueueError::Unreadable(w) if w.contains("results.n1.x")), "{why}");
    assert!(queue.finish(&taken.lease, &result(&taken.job, 1)).await.unwrap());
    assert_eq!(collect(&queue).await, [taken.job.id]);
    publish(server.port(), "$KV.bench_v1_faults_devices.a.b", "nonsense");
    assert!(queue.devices().await.unwrap().is_empty());
}

#[tokio::test]
async fn files_travel_by_their_hash_and_records_come_back() {
    let server = server!("");
    let queue = connect(&server.url()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["cache", "runs", "run-1/outputs", "srv"] {
        fs::create_dir_all(path(name)).unwrap();
    }
    // several parts, one, and none
    let contents =
        [("srv/a.tflite", vec![1; 1_000_000]), ("srv/b.npz", b"2".to_vec()), ("srv/c", Vec::new())];
    let file = |(name, bytes): &(&str, Vec<u8>)| {
        fs::write(path(name), bytes).unwrap();
        JobFile { path: path(name), sha256: Sha256Hex::of_bytes(bytes), bytes: bytes.len() as u64 }
    };
    let files: Vec<JobFile> = contents.iter().map(file).collect();
    let job = Job { files: files.clone(), ..job(1, "pi") };
    assert_eq!(remote::upload(&queue, &[job.clone(), job.clone()]).await.unwrap(), 3);
    assert_eq!(remote::upload(&queue, std::slice::from_ref(&job)).await.unwrap(), 0, "they are there");
    let mirror = remote::Mirror::new(&path("cache")).unwrap();
    for _ in 0..2 {
        mirror.fetch(&queue, &job).await.unwrap();
    }
    let trees: Vec<_> = fs::read_dir(path("cache/farm/mirror")).unwrap().collect();
    let tree = trees.into_iter().next().unwrap().unwrap().path();
    for (file, (_, bytes)) in files.iter().zip(&contents) {
        assert_eq!(fs::read(tree.join(file.path.strip_prefix("/").unwrap())).unwrap(), *bytes);
    }
    // a file that changed since it was hashed, and one that never was there
    fs::write(path("srv/b.npz"), "3").unwrap();
    let changed = JobFile { sha256: Sha256Hex::of_bytes(b"4"), ..files[1].clone() };
    let changed = Job { files: vec![changed], ..job.clone() };
    let why = remote::upload(&queue, std::slice::from_ref(&changed)).await.unwrap_err().to_string();
    assert!(why.contains("b.npz is not what it was"), "{why}");
    let why = mirror.fetch(&queue, &changed).await.unwrap_err().to_string();
    assert!(why.contains("does not lie on the server"), "{why}");

    fs::write(path("run-1/plan.json"), "{}").unwrap();
    fs::write(path("run-1/outputs/x"), vec![9; 5000]).unwrap();
    let record = remote::send(&queue, &path("run-1"), &path("cache")).await.unwrap();
    for _ in 0..2 {
        let name = remote::collect(&queue, &record, &path("runs")).await.unwrap();
        assert_eq!(name.as_deref(), Some("run-1"));
    }
    assert_eq!(fs::read(path("runs/run-1/outputs/x")).unwrap(), vec![9; 5000]);
    let Record::Object { name, sha256, bytes, .. } = record else { unreachable!() };
    for run in ["../evil", "", "a/b", ".hidden", ".."] {
        let record =
            Record::Object { name: name.clone(), sha256: sha256.clone(), bytes, run: run.to_owned() };
        let why = remote::collect(&queue, &record, &path("runs")).await.unwrap_err().to_string();
        assert!(why.contains("no name of a run"), "{run}: {why}");
    }
    let short = Record::Object { name, sha256: sha256.clone(), bytes: bytes - 1, run: "run-2".to_owned() };
    let why = remote::collect(&queue, &short, &path("runs")).await.unwrap_err().to_string();
    assert!(why.contains("holds"), "{why}");
    queue.delete_object(Objects::Records, &sha256).await.unwrap();
    assert_eq!(fs::read_dir(path("runs")).unwrap().count(), 1, "nothing half is left behind");
    archive::unpack(&path("run-1/plan.json"), &path("runs/x")).unwrap_err();
}

#[tokio::test]
async fn objects_that_have_no_room_say_so() {
    let server = server!("");
    let mut options = options(&server.url(), "full");
    options.limits.files_bytes = 300_000;
    let queue = NatsQueue::connect(&options).await.unwrap();
    let path = server.path("large");
    let bytes = vec![5; 1_000_000];
    fs::write(&path, &bytes).unwrap();
    let put = queue.put_object(Objects::Files, &path, &Sha256Hex::of_bytes(&bytes), 1_000_000).await;
    let why = put.unwrap_err();
    assert!(why.to_string().starts_with("the queue is full"), "{why}");
}
