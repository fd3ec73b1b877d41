host {
}
host {
}
