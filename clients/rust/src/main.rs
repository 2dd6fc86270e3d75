//! The life of a task with the generated Rust client: cargo run -- ADDRESS USER PASSWORD

use std::collections::HashMap;
use std::error::Error;

use serde_json::{json, Value};
use tasques::apis::configuration::Configuration;
use tasques::apis::tasks_api::{self, GetExistingTaskError};
use tasques::apis::Error as ApiError;
use tasques::models::{Claim, NewReport, NewTask, Success, TaskState};

const WORKER: &str = "rust-worker";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("an address, a user and a password");
    let stranger = Configuration { base_path: next(), ..Configuration::default() };
    let server = Configuration { basic_auth: Some((next(), Some(next()))), ..stranger.clone() };
    live(&server).await?;
    refused(&server, 404, "task_not_found").await;
    refused(&stranger, 401, "not_authenticated").await;
    println!("rust: a task lived");
    Ok(())
}

fn object(name: &str, value: Value) -> Option<HashMap<String, Value>> {
    Some(HashMap::from([(name.to_string(), value)]))
}

async fn live(server: &Configuration) -> Result<(), Box<dyn Error>> {
    let new = NewTask {
        id: Some("a/rust".to_string()),
        priority: Some(i64::MAX),
        args: object("name", json!("Ada")),
        ..NewTask::new("life-rust".to_string(), "greet".to_string())
    };
    let created = tasks_api::create_task(server, new).await?;
    assert_eq!(created.state, TaskState::Queued);
    assert_eq!(created.priority, i64::MAX);
    assert!(created.last_claimed.is_none());
    let (queue, id) = (&created.queue, &created.id);

    let claim = Claim {
        block_for: Some("10s".to_string()),
        ..Claim::new(vec![queue.clone()])
    };
    let claimed = tasks_api::claim_tasks(server, WORKER, claim).await?;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].args, object("name", json!("Ada")));

    let report = NewReport { data: object("percent", json!(50)) };
    let reported = tasks_api::report_on_claimed_task(server, queue, id, WORKER, report).await?;
    let last_report = reported.last_claimed.and_then(|claim| claim.last_report);
    assert_eq!(last_report.and_then(|report| report.data), object("percent", json!(50)));

    let success = Success { data: object("said", json!("Hello, Ada")) };
    tasks_api::mark_claimed_task_done(server, queue, id, WORKER, success).await?;
    let done = tasks_api::get_existing_task(server, queue, id).await?;
    assert_eq!(done.state, TaskState::Done);
    let result = done.last_claimed.and_then(|claim| claim.result);
    assert_eq!(result.and_then(|it| it.success), object("said", json!("Hello, Ada")));
    Ok(())
}

async fn refused(server: &Configuration, status: u16, code: &str) {
    match tasks_api::get_existing_task(server, "life-rust", "nowhere").await {
        Err(ApiError::ResponseError(answer)) => match answer.entity {
            // The first of the alternatives that fits: all errors have one form.
            Some(GetExistingTaskError::Status400(error) | GetExistingTaskError::Status404(error)) => {
                assert_eq!(answer.status.as_u16(), status);
                assert_eq!(error.code, code);
            }
            other => panic!("no typed error: {other:?}"),
        },
        other => panic!("a task that is nowhere: {other:?}"),
    }
}
