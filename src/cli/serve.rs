//! `serve`: flags to options of the server.

use super::failure::Failure;
use super::flags::serve::ServeFlags;

pub(crate) async fn serve(flags: ServeFlags) -> Result<(), Failure> {
    let ServeFlags { dev: _, config: _, data_dir: _, listen: _, store: _, tls_cert: _, tls_key: _, danger_without_tls: _ } =
        flags;
    Err(Failure::local("this build has no server", "use a build that has one"))
}
