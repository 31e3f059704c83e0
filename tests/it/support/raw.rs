use grpcio::{Marshaller, Method};

/// The same method with whatever bytes for what the client sends.
pub fn raw<Q, R>(method: &Method<Q, R>) -> Method<Vec<u8>, R> {
    Method {
        ty: method.ty,
        name: method.name,
        req_mar: Marshaller {
            ser: |bytes: &Vec<u8>, out| {
                *out = bytes.as_slice().into();
                Ok(())
            },
            de: |_| Ok(Vec::new()),
        },
        resp_mar: Marshaller {
            ser: method.resp_mar.ser,
            de: method.resp_mar.de,
        },
    }
}
