host {
  apis {
    listen = "127.0.0.1:1"
  }
}
project "shop" {
  id = 2195193
  sub {
  }
}
