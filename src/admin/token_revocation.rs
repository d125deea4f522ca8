//! `POST /oauth2/revoke`: RFC 7009, for authorization servers and logout pages.
//!
//! Owns what is answered to a token that is posted. Clients, their credential and the form are judged before.

use super::AdminState;
use super::answer::{Answer, Problem, text};
use super::body::Form;
use super::revocations::{Request, of_token, revoke as write};

/// A token of a configured issuer is taken back. Any other is of no use here already, which is what was asked for (§2.2); only
/// of a refresh token that would not be true. The hint is no more than that: it decides nothing about a token that is known.
pub(super) async fn revoke(
    state: &AdminState,
    request: Request,
    form: &Form,
) -> Result<Answer, Problem> {
    let token = form.get("token");
    // A newline behind it, from a file, must not save a token: the answer would be the same.
    let token = token.map(str::trim).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Problem::member("token", "token is needed."))?;
    let config = state.runtime.config();
    match of_token(token, &config, state.clock.now()) {
        Ok(new) => {
            write(state, request, &config, new).await?;
        }
        Err(_) if form.get("token_type_hint") == Some("refresh_token") => {
            return Err(Problem::UnsupportedTokenType);
        }
        Err(_) => {}
    }
    Ok(text("text/plain; charset=utf-8", ""))
}
