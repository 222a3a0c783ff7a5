package sqlite

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// A trace is what a process did to its files, as strace saw it, in order.

// call is one finished system call on a file.
type call struct {
	name string
	path string
	data []byte // of a write
	at   int64  // offset of a write, length of a truncation
	// begun is how many calls had finished when this one began: a sync covers
	// those and no others.
	begun int
}

var (
	// pid name(fd<path>rest
	callBegins = regexp.MustCompile(`^(\d+) +(\w+)\((\d+)<([^>]*)>(.*)$`)
	// pid <... name resumed>rest
	callResumes = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	// args) = result, padded to a column
	callReturns = regexp.MustCompile(`^(.*)\) += (\d+)`)
	hexByte     = regexp.MustCompile(`\\x[0-9a-f]{2}`)
)

const unfinished = " <unfinished ...>"

// readTrace gives the calls that succeeded, in the order in which they finished;
// a write to a pipe counts from its beginning, because its reader may act before
// the writer returns.
func readTrace(path string) (calls []call, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	type open struct {
		text  string
		begun int
	}
	waiting := map[string]open{} // by process id
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		o := open{line, len(calls)}
		if m := callResumes.FindStringSubmatch(line); m != nil {
			o = waiting[m[1]]
			if o.text == "" {
				return nil, fmt.Errorf("resumed but never begun: %s", line)
			}
			delete(waiting, m[1])
			o.text += m[3]
		} else if text, cut := strings.CutSuffix(line, unfinished); cut {
			if c, ok := parseCall(text + ") = 0"); ok && c.name == "write" {
				calls = append(calls, c)
				text = "0 was_counted(0<>"
			}
			waiting[strings.Fields(line)[0]] = open{text, len(calls)}
			continue
		}
		if c, ok := parseCall(o.text); ok {
			c.begun = o.begun
			calls = append(calls, c)
		}
	}
	return calls, lines.Err()
}

// parseCall reads one complete line.
func parseCall(line string) (c call, ok bool) {
	m := callBegins.FindStringSubmatch(line)
	if m == nil {
		return c, false
	}
	c.name, c.path = m[2], string(unhex(m[4]))
	r := callReturns.FindStringSubmatch(m[5])
	if r == nil {
		return c, false // failed, or something of another kind
	}
	args := r[1]
	switch c.name {
	case "fsync", "fdatasync":
		return c, true
	case "ftruncate":
		c.at, ok = number(strings.TrimPrefix(args, ", "))
		return c, ok
	case "write", "pwrite64":
		quoted := strings.Split(args, `"`)
		if len(quoted) != 3 {
			return c, false
		}
		c.data = unhex(quoted[1])
		if c.name == "write" {
			return c, true
		}
		numbers := strings.Split(strings.TrimPrefix(quoted[2], ", "), ", ")
		size, okSize := number(numbers[0])
		done, okDone := number(r[2])
		if len(numbers) != 2 || !okSize || !okDone || size != int64(len(c.data)) || done > size {
			return c, false
		}
		c.data = c.data[:done]
		c.at, ok = number(numbers[1])
		return c, ok
	}
	return c, false
}

func number(s string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	return n, err == nil
}

// unhex reads strace's \x spelling; anything else stands for itself.
func unhex(s string) []byte {
	return hexByte.ReplaceAllFunc([]byte(s), func(b []byte) []byte {
		n, _ := strconv.ParseUint(string(b[2:]), 16, 8)
		return []byte{byte(n)}
	})
}
