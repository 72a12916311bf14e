//! Commands about who may do what.

pub(super) use super::answer::letters;
use super::answer::{Answer, PERMISSIONS};
use super::failure::Failure;
use super::path;
use super::session::Session;
use super::tree;
use super::words::Given;
use serde_json::json;
use zookeeper_client::{Acl, AuthId, Error, Permission};

/// `scheme:id:perm`, several with commas between them. What has another form is told and left out; commas at the end are nothing.
pub(super) fn parse(text: &str, answer: &mut Answer) -> Vec<Acl> {
    let mut acl = Vec::new();
    let text = text.trim_end_matches(',');
    for entry in text.split(',').filter(|_| !text.is_empty()) {
        let parts = entry
            .split_once(':')
            .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once(':')?)));
        let Some((scheme, (id, letters))) = parts else {
            answer.note(format!("{entry} does not have the form scheme:id:perm"));
            continue;
        };
        for letter in letters.chars().filter(|l| permission_of(*l).is_none()) {
            answer.note(format!("Unknown perm type: {letter}"));
        }
        acl.push(Acl::new(permission(letters), AuthId::new(scheme, id)));
    }
    acl
}

fn permission_of(letter: char) -> Option<Permission> {
    let found = PERMISSIONS.iter().find(|(known, _)| *known == letter);
    found.map(|(_, permission)| *permission)
}

/// What letters allow; others allow nothing.
pub(super) fn permission(letters: &str) -> Permission {
    let granted = letters.chars().filter_map(permission_of);
    granted.fold(Permission::NONE, |all, one| all | one)
}

pub(super) async fn get(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let at = given.argument(0);
    path::check(at)?;
    let got = session.client.get_acl(at).await;
    let (acl, stat) = got.map_err(|e| Failure::of(&e, at))?;
    answer.field("path", at);
    answer.acl(&acl);
    if given.has("s") {
        answer.stat(&stat);
    }
    Ok(())
}

pub(super) async fn set(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let at = given.argument(0);
    let version = given.version()?;
    let acl = parse(given.argument(1), answer);
    path::check(at)?;
    if acl.is_empty() {
        return Err(Failure::of(&Error::InvalidAcl, "null"));
    }
    answer.field("path", at);
    if given.has("R") {
        return set_recursive(session, (at, version), &acl, answer).await;
    }
    let done = session.client.set_acl(at, &acl, version).await;
    let stat = done.map_err(|e| Failure::of(&e, at))?;
    if given.has("s") {
        answer.stat(&stat);
    }
    Ok(())
}

/// Every node of the tree; one that refuses does not keep the others from it.
async fn set_recursive(
    session: &Session,
    (root, version): (&str, Option<i32>),
    acl: &[Acl],
    answer: &mut Answer,
) -> Result<(), Failure> {
    let tree = tree::breadth_first(&session.client, root).await?;
    let mut refused = Vec::new();
    for node in &tree {
        match session.client.set_acl(node, acl, version).await {
            Ok(_) | Err(Error::NoNode) => {}
            Err(error) => {
                answer.note(Failure::of(&error, node).line);
                refused.push(node.clone());
            }
        }
    }
    let (all, failed) = (tree.len(), refused.len());
    answer.field("changed", all - failed);
    answer.field("refused", refused);
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::partly(format!(
        "the ACL of {failed} of {all} nodes stays what it was"
    )))
}

pub(super) async fn add_auth(session: &Session, given: &Given) -> Result<(), Failure> {
    let (scheme, auth) = (given.argument(0), given.argument(1));
    // D-134: it would prove nobody, and end the session.
    if scheme == "digest" && auth.is_empty() {
        return Err(Failure::usage(
            "addauth digest: nothing says who asks; write addauth digest USER:PASSWORD",
        ));
    }
    let done = session.client.auth(scheme, auth.as_bytes()).await;
    done.map_err(|e| Failure::of(&e, ""))
}

pub(super) async fn whoami(session: &Session, answer: &mut Answer) -> Result<(), Failure> {
    let got = session.client.list_auth_users().await;
    let users = got.map_err(|e| Failure::of(&e, ""))?;
    answer.line("Auth scheme: User");
    for user in &users {
        answer.line(format!("{}: {}", user.scheme(), user.user()));
    }
    let users = users.iter();
    let users = users.map(|u| json!({"scheme": u.scheme(), "user": u.user()}));
    answer.field("users", users.collect::<Vec<_>>());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Answer, parse};

    #[test]
    fn an_entry_is_a_scheme_an_id_and_letters() {
        let mut answer = Answer::default();
        let acl = parse("world:anyone:cdrwa,ip:::1:r,digest:a:b=:rw", &mut answer);
        answer.acl(&acl);
        let printed = "'world,'anyone\n: cdrwa\n'ip,'::1\n: r\n'digest,'a:b=\n: rw\n";
        assert_eq!((answer.out.as_str(), answer.err.as_str()), (printed, ""));
    }

    #[test]
    fn what_has_no_such_form_is_told() {
        let mut answer = Answer::default();
        assert!(parse("bad", &mut answer).is_empty());
        assert_eq!(parse("world:anyone:rx", &mut answer).len(), 1);
        assert!(parse(",", &mut answer).is_empty());
        assert_eq!(parse("world:anyone:r,", &mut answer).len(), 1);
        let told = "bad does not have the form scheme:id:perm\nUnknown perm type: x\n";
        assert_eq!(answer.err, told);
    }
}
