//! What a worker alone says over HTTP: whether it is alive, whether it is ready, how it is doing.

use std::net::TcpListener;

use actix_server::ServerHandle;
use actix_web::{App, HttpServer, middleware::from_fn, web::Data};
use actix_web_lab::middleware::CatchPanic;
use anyhow::Result;

use crate::api::{self, State};

/// Serves it on one thread.
///
/// # Errors
/// Where the system has no thread left.
pub(super) fn serve(listener: TcpListener, state: Data<State>) -> Result<ServerHandle> {
    let app = move || {
        let app = App::new().app_data(state.clone()).configure(api::operating_routes);
        app.wrap(CatchPanic::default()).wrap(from_fn(api::error::finish))
    };
    let server = HttpServer::new(app).workers(1).shutdown_timeout(1).disable_signals().listen(listener)?.run();
    let handle = server.handle();
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            log::error!("the HTTP server has failed: {error}");
        }
    });
    Ok(handle)
}
