//! One client, from its connect to its end.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{sync::oneshot, time::timeout};
use websockets_simple_tests::crowd::{Notice, notice::BYE, now};

use crate::{
    clients::{Coming, Hall, Handshake},
    heard::Heard,
    line::Line,
    plan::Plan,
};

/// How long a handshake, or the answer to a text, may take.
const LONGEST: Duration = Duration::from_secs(60);

/// Lives one life. It leaves when it is told to, or behind the last broadcast. An error if it has not heard each broadcast
/// of its time once, and in order.
pub(crate) async fn life(
    hall: &Hall,
    coming: Coming,
    number: usize,
    leave: oneshot::Receiver<()>,
) -> Result<(), String> {
    let mut heard = Heard::default();
    let mut line = {
        let Ok(_place) = hall.handshakes_at_once.acquire().await else { return Ok(()) };
        let from = now();
        let line = timeout(LONGEST, open(hall, number, &mut heard)).await;
        let line = line.map_err(|_| "not greeted in time")??;
        hall.opened(Handshake { from, until: now() });
        line
    };
    drop(coming);
    let last = stay(hall, &mut line, &mut heard, leave).await?;
    heard.check(last)?;
    timeout(LONGEST, line.hang_up(Plan::is_polite(number))).await.map_err(|_| "not closed in time")?
}

/// Connects, and waits for the greeting.
async fn open(hall: &Hall, number: usize, heard: &mut Heard) -> Result<Line, String> {
    let mut line = Line::connect(hall.addr, hall.plan.source(number), Plan::is_sdk(number)).await?;
    while !heard.is_greeted() {
        hear(hall, &mut line, heard).await?;
    }
    Ok(line)
}

/// Hears what comes, until the end. Answers the number of the last broadcast that must have come by then.
async fn stay(
    hall: &Hall,
    line: &mut Line,
    heard: &mut Heard,
    mut leave: oneshot::Receiver<()>,
) -> Result<u64, String> {
    let mut is_left_alone = false;
    loop {
        tokio::select! {
            notice = hear(hall, line, heard) => {
                if let Notice::Broadcast { number, is_last: true, .. } = notice? {
                    return Ok(number);
                }
            }
            told = &mut leave, if !is_left_alone => match told {
                Ok(()) => break,
                Err(_) => is_left_alone = true,
            },
        }
    }
    line.say(BYE).await?;
    hall.said.fetch_add(1, Ordering::Relaxed);
    let answered = async {
        loop {
            if let Notice::Bye(begun) = hear(hall, line, heard).await? {
                // That one may still be on its way to others, and to this one.
                return Ok(begun.saturating_sub(1));
            }
        }
    };
    timeout(LONGEST, answered).await.map_err(|_| "no answer to a text".to_owned())?
}

/// Hears one text. Cancel safe.
async fn hear(hall: &Hall, line: &mut Line, heard: &mut Heard) -> Result<Notice, String> {
    let notice = line.hear().await?;
    if let Notice::Broadcast { number, at, .. } = notice {
        hall.receipts.add(number, now().saturating_sub(at));
    }
    heard.note(notice)?;
    Ok(notice)
}
