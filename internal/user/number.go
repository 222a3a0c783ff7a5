package user

import "encoding/binary"

// The integers that stand for accounts which came without one lie above every
// number that an Open edX has given, and below 2^53, which is as far as JSON
// readers in browsers count.
const numberBase = 1 << 52

// Integer is the account's number for systems that know users by an integer: the
// one it came with, else one that is derived from its id and never changes. Two
// derived ones are the same with a chance of one in 10^4 among a million accounts,
// so nothing here is looked up by it.
func (u User) Integer() int64 {
	if u.Number != 0 {
		return u.Number
	}
	return numberBase + int64(binary.BigEndian.Uint64(u.ID[:8])>>12)
}
