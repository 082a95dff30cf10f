//! Whether the server serves.

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{Client, Error};

impl Client {
    /// Asks the standard health service about the whole server. One try: who asks wants to know about now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it cannot be reached.
    pub async fn is_serving(&self) -> Result<bool, Error> {
        let request = self.request(HealthCheckRequest { service: String::new() });
        let reply = HealthClient::new(self.channel.clone()).check(request).await?;
        Ok(reply.into_inner().status() == ServingStatus::Serving)
    }
}
