//! A finding made small: acts and requests are left out as long as the difference stays.

use super::generate::Act;
use super::pair::{Difference, Pair};
use anyhow::Result;
use std::time::{Duration, Instant};

/// What is left after so much time is good enough.
const TIME: Duration = Duration::from_secs(60);

/// The smallest script that was found to have a difference of the same kind, and that difference. Nothing if the script alone has none:
/// then it came of what was before.
///
/// # Errors
/// A server has ended.
pub fn shrink(pair: &mut Pair, acts: &[Act], kind: &str) -> Result<Option<(Vec<Act>, Difference)>> {
    let began = Instant::now();
    let mut has = |acts: &[Act]| -> Result<Option<(usize, Difference)>> {
        if began.elapsed() > TIME {
            return Ok(None);
        }
        Ok(pair.play(acts)?.filter(|(_, d)| d.kind == kind))
    };
    let Some((at, mut difference)) = has(acts)? else {
        return Ok(None);
    };
    let mut kept = acts[..acts.len().min(at + 1)].to_vec();
    let mut width = kept.len().div_ceil(2).max(1);
    loop {
        let mut begin = 0;
        while begin < kept.len() {
            let end = kept.len().min(begin + width);
            let fewer = [&kept[..begin], &kept[end..]].concat();
            if let Some((at, found)) = has(&fewer)? {
                kept = fewer;
                kept.truncate(at + 1);
                difference = found;
            } else {
                begin = end;
            }
        }
        if width == 1 {
            break;
        }
        width = width.div_ceil(2).max(1);
    }
    for i in 0..kept.len() {
        let mut n = 0;
        while let Act::Batch { slot, ops } = &kept[i]
            && n < ops.len()
            && ops.len() > 1
        {
            let mut fewer = kept.clone();
            let mut ops = ops.clone();
            ops.remove(n);
            fewer[i] = Act::Batch { slot: *slot, ops };
            if let Some((_, found)) = has(&fewer)? {
                kept = fewer;
                difference = found;
            } else {
                n += 1;
            }
        }
    }
    Ok(Some((kept, difference)))
}
