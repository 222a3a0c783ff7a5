package settings

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"holdfast.example/internal/secret"
)

// MaxSecret bounds a file that holds one secret, in bytes.
const MaxSecret = 4096

// othersMay are the permission bits that let any user of the machine at a file.
const othersMay os.FileMode = 0o007

// ReadSecret reads a file that holds one secret; one line ending at its end is
// not part of it. A file that other users may read is refused, because then it
// is no secret. The problem has no place yet: the caller knows which setting
// named the file.
func ReadSecret(path string) (secret.Text, *Problem) {
	refuse := func(reason, mend string) (secret.Text, *Problem) {
		return secret.Text{}, &Problem{Code: CodeSecretFile, Value: fmt.Sprintf("%q", shorten(path)), Reason: reason, Mend: mend}
	}
	info, err := os.Stat(path)
	if err != nil {
		return refuse("the file cannot be opened: "+cause(err), "check the path and the rights of the file")
	}
	if p := SecretMode(path, info); p != nil {
		return secret.Text{}, p
	}
	f, err := os.Open(path)
	if err != nil {
		return refuse("the file cannot be opened: "+cause(err), "check the rights of the file")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSecret+1))
	if err != nil {
		return refuse("the file cannot be read: "+cause(err), "check the rights of the file")
	}
	if len(data) > MaxSecret {
		return refuse(fmt.Sprintf("the file is larger than %d bytes, too large for one secret", MaxSecret), "name the file that holds only the secret")
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if s == "" {
		return refuse("the file is empty", "write the secret into it")
	}
	return secret.New(s), nil
}

// SecretMode checks that a file that holds secrets is a regular file that only
// its owner and its group can read.
func SecretMode(path string, info os.FileInfo) *Problem {
	p := Problem{Code: CodeSecretFile, Value: fmt.Sprintf("%q", shorten(path))}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		p.Reason, p.Mend = "this is not a regular file", "name the file that holds the secret"
	case runtime.GOOS != "windows" && mode.Perm()&othersMay != 0:
		p.Reason = fmt.Sprintf("every user of this machine may read or change this file (its mode is %04o)", mode.Perm())
		p.Mend = "run chmod 600 on it (in a container, give the mounted secret the mode 0400)"
	default:
		return nil
	}
	return &p
}
