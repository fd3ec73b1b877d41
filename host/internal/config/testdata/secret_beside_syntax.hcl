destination "s3" "lake" {
  secret_access_key = "hunter2" "x"
  session_token = <<-EOT
    hunter2
  EOT oops
}
