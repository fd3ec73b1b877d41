project "p1" {
  id       = 1
  timezone = "Europe/Berln"
}
project "p2" {
  id       = 2
  timezone = "Berlin"
}
project "p3" {
  id       = 3
  timezone = "new york"
}
project "p4" {
  id       = 4
  timezone = "Local"
}
project "p5" {
  id       = 5
  timezone = ""
}
project "p6" {
  id       = 6
  timezone = "Nowhere/Nothing_At_All"
}
project "p7" {
  id       = 7
  timezone = "../etc/passwd"
}
