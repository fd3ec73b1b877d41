host {
  datadir = "./data"
  colour = "red"
}
