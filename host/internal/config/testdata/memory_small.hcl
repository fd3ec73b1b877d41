host {
  memory = "1MiB"
}
