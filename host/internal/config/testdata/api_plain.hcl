# test: env API_TOKEN=has a space
host {
  api {
    listen = "0.0.0.0:8090"
    token  = env("API_TOKEN")
  }
}
