host {
  api {
    listen = "127.0.0.1:8090"
    token  = env("API_TOKEN")
  }
}
