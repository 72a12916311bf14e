//! `zabra-check explore`: stateright's Explorer in a browser.

use crate::configuration::configuration;
use stateright::Model;
use zabra_check::checker::browse::Browsed;
use zabra_check::checker::model::Zab;

pub(crate) fn explore_in_browser(name: &str, address: &str) -> Result<bool, String> {
    let b = configuration(name)?;
    eprintln!("exploring {} at http://{address}; stop with Ctrl-C", b.name);
    let zab = Zab::new(b);
    Browsed { zab }.checker().serve(address);
    Ok(true)
}
