// Package setup quotes names and values for the text of setup steps: words of a
// shell command, and values of Terraform's language.
//
// A bucket's name or a project's token comes out of a configuration, and the
// text is pasted into a root shell: every value that is not a literal of the
// plugin must pass through this package.
package setup
