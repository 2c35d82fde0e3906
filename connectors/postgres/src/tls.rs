//! TLS by rustls with ring; the same meanings of `ssl_mode` as libpq's.

use std::sync::Arc;

use connector_spi::{Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Makes TLS connections.
pub(crate) type Tls = MakeRustlsConnect;

/// Whose certificate is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Anyone's: the traffic is encrypted, whoever answers.
    Anyone,
    /// One signed by an authority of the file `root`, or of the system; for the host's name if `named`.
    Signed { root: Option<String>, named: bool },
}

/// Reads the authorities, and makes what connects.
///
/// Errors: `INVALID` where there are none to be read.
pub(crate) fn make(trust: &Trust) -> Result<Tls> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::internal(format!("TLS could not be set up: {cause}")))?;
    let config = match trust {
        Trust::Anyone => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { provider, signed: None }))
        }
        Trust::Signed { root, named } => {
            let roots = Arc::new(authorities(root.as_deref())?);
            let signed =
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().map_err(|cause| {
                    Error::invalid(format!("the authorities of \"ssl_root_cert\" cannot be used: {cause}"))
                })?;
            match named {
                true => builder.with_webpki_verifier(signed),
                false => builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Lenient { provider, signed: Some(signed) })),
            }
        }
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn authorities(root: Option<&str>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match root {
        Some(root) => {
            let wrong = |cause: &dyn std::fmt::Display| {
                Error::invalid(format!("the file \"{root}\" of option \"ssl_root_cert\" cannot be used: {cause}"))
            };
            for certificate in CertificateDer::pem_file_iter(root).map_err(|cause| wrong(&cause))? {
                store.add(certificate.map_err(|cause| wrong(&cause))?).map_err(|cause| wrong(&cause))?;
            }
            if store.is_empty() {
                return Err(wrong(&"it holds no certificate"));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                return Err(Error::invalid("the system has no list of certificate authorities")
                    .hint("Set the option \"ssl_root_cert\" to a PEM file of them."));
            }
        }
    }
    Ok(store)
}

/// Asks less of a certificate than that it is signed and for this host.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Who must have signed it; nobody in particular where absent.
    signed: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(signed) = &self.signed else { return Ok(ServerCertVerified::assertion()) };
        match signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, when the signatures are found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
