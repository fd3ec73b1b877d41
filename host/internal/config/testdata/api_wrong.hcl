host {
  api {
    listen   = "9090"
    tls_cert = "cert.pem"
  }
  blobs   = "http://x"
  catalog = "mysql://db/x"
}
host {
}
