//! Addresses of ports.

/// An address to listen on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// The host; `None` is every address of the machine.
    pub host: Option<String>,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl Listen {
    /// As `host:port`, for the system.
    #[must_use]
    pub fn to_addr(&self) -> String {
        join(self.host.as_deref().unwrap_or("0.0.0.0"), self.port)
    }
}

/// `host:port`, with brackets where the host is an IPv6 address.
#[must_use]
pub fn join(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
