# test: env API_TOKEN=0c5f1d
host {
  api {
    listen   = "[::]:8090"
    token    = env("API_TOKEN")
    tls_cert = "cert.pem"
    tls_key  = "key.pem"
  }
}
