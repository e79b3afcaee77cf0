//! The delivery check finds a log that doesn't check the fence: a worker that was given up, and doesn't know it yet, goes on with
//! its reply while another has begun it anew.

use std::time::Duration;

use persona_community::check::{
    crowd::{Crowd, Plan},
    reader::Manners,
    report::Report,
    verify::{Rules, shortest},
};
use tokio::time::{sleep, timeout};

use crate::support::{DEADLINE, eventually, fleet::Fleet, installation::DEPOSE, unfenced::unfenced};

#[tokio::test]
async fn a_log_that_lets_a_worker_speak_that_was_given_up_is_found() {
    let fleet = Fleet::new();
    let lying = unfenced(&fleet.redis);
    let settings = [("REDIS_URL", &*lying), ("PERSONA_LEASE_SECONDS", "30"), ("PERSONA_OFFLINE_PACE_MS", "100")];
    let service = fleet.service(&settings).start();
    // Until its next heartbeat, which is ten seconds away, it takes its lease for good. With one slot it asks for no more while it
    // speaks; and it speaks so slowly that it is long until it notes its progress, of which it would learn as well.
    let _unaware = fleet.worker(&[&settings[..], &[("PERSONA_WORKER_SLOTS", "1"), ("PERSONA_OFFLINE_PACE_MS", "1000")]].concat()).start();
    let plan = Plan {
        servers: vec![service.url.clone()],
        seed: 7,
        rooms: 1,
        people: 1,
        readers: 1,
        visitors: 0,
        thinks: Duration::from_millis(300),
        manners: Manners { cut_after: None, silence: Duration::from_secs(10) },
        patience: Duration::from_millis(500),
        rules: Rules::default(),
    };
    let crowd = Crowd::gather(plan).await.unwrap();
    let database = fleet.database.client().await;
    let is_found = || crowd.recorder.violations(Rules::default()).iter().any(|violation| violation.kind() == "broken text");
    let mut others = Vec::new();
    let found = async {
        while !is_found() {
            eventually("somebody is at work and is given up", async || (database.execute(DEPOSE, &[]).await.unwrap() > 0).then_some(())).await;
            crowd.recorder.fault("the leases of all workers at work are over, and none of them knows", false);
            // Who begins looks at once for what nobody is at.
            others.push(fleet.worker(&settings).start());
            sleep(Duration::from_secs(2)).await;
        }
    };
    timeout(2 * DEADLINE, found).await.expect("two speak at once, and it is not found");
    let ended = crowd.end().await;
    let report = Report(&ended).to_string();
    println!("{report}");
    let broken = ended.violations.iter().find(|violation| violation.kind() == "broken text").unwrap();
    let short = shortest(&ended.recorder.trace(), ended.rules, broken);
    assert!((1..=6).contains(&short.len()), "{report}");
}
