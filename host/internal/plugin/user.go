package plugin

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// User is a user of the system, other than the host's own, that plugins run as.
type User struct {
	Name, Home string
	UID, GID   uint32
	Groups     []uint32 // supplementary
}

// FindUser returns the user of a name, or of a number. Plugins can run as it if
// this process is root and the user is not.
func FindUser(name string) (*User, error) {
	return findUser(name, os.Geteuid(), lookupUser)
}

func lookupUser(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err == nil || strings.Trim(name, "0123456789") != "" {
		return u, err
	}
	return user.LookupId(name)
}

func findUser(name string, euid int, lookup func(string) (*user.User, error)) (*User, error) {
	if euid != 0 {
		return nil, fmt.Errorf("plugins can run as user %s only when penstock runs as root, and it runs as user %d", name, euid)
	}
	u, err := lookup(name)
	if err != nil {
		return nil, fmt.Errorf("there is no user %s on this machine: %w", name, err)
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	if uid == 0 {
		return nil, fmt.Errorf("user %s is root: name a user without rights, which owns nothing but the destinations' files", name)
	}
	found := &User{Name: u.Username, Home: u.HomeDir, UID: uint32(uid), GID: uint32(gid)}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", name, err)
	}
	for _, g := range groups {
		id, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("groups of user %s: %w", name, err)
		}
		found.Groups = append(found.Groups, uint32(id))
	}
	return found, nil
}

// diagnose returns notes on a binary that the user may not execute. u may be nil.
func (u *User) diagnose(b *Binary) []string {
	if u == nil {
		return nil
	}
	info, err := b.f.Stat()
	if err != nil || info.Mode().Perm()&0o001 != 0 {
		return nil
	}
	return []string{fmt.Sprintf("plugins run as user %s, and others than its owner may not execute the file (mode %04o): run chmod o+rx %s", u.Name, info.Mode().Perm(), b.Path)}
}

// become makes a command run as the user. Its process has no rights of the host's
// user.
func (u *User) become(cmd *exec.Cmd) {
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	own := []string{"HOME=" + u.Home, "USER=" + u.Name, "LOGNAME=" + u.Name}
	cmd.Env = append(slices.DeleteFunc(cmd.Env, func(kv string) bool {
		return slices.ContainsFunc(own, func(o string) bool { return o[:strings.IndexByte(o, '=')+1] == kv[:strings.IndexByte(kv, '=')+1] })
	}), own...)
}
