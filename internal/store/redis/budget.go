package redis

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"

	"holdfast.example/internal/limit"
)

// Budgets satisfies limit.Store. It counts in whole microseconds, which Lua's
// numbers hold exactly until the year 2255.
type Budgets struct {
	db         *DB
	take, give *redis.Script
}

// Budgets gives the budgets kept here.
func (db *DB) Budgets() *Budgets {
	return &Budgets{db: db, take: redis.NewScript(1, begin+take), give: redis.NewScript(1, begin+give)}
}

// keyPrefix keeps our keys apart from those of others in the same database.
const keyPrefix = "holdfast:budget:"

// The scripts are limit.Rate's take and give. Redis runs one at a time, so of many
// at the same moment as many pass as there are units. KEYS[1] holds when the budget
// is whole again; ARGV is Every, Burst, the time or ”, all in microseconds. A key
// expires when its budget is whole, but lives for at least a minute, so that keys
// are not made and dropped all the time.
const (
	begin = `
local every, burst, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not now then
  local t = redis.call('TIME')
  now = tonumber(t[1]) * 1000000 + tonumber(t[2])
end
local stored = redis.call('GET', KEYS[1])
local whole = math.min(math.max(stored and tonumber(stored) or now, now), now + burst * every)
local function keep(at)
  redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', string.format('%.0f', math.max(60000, math.ceil((at - now) / 1000))))
end
`
	take = `
local wait = whole - now - (burst - 1) * every
if wait > 0 then
  keep(whole)
  return wait
end
keep(whole + every)
return 0
`
	give = `
if not stored then return 0 end
if whole - every > now then keep(whole - every) else redis.call('DEL', KEYS[1]) end
return 0
`
)

// Take implements limit.Counters. Its time is Redis's.
func (b *Budgets) Take(ctx context.Context, _ time.Time, key limit.Key, r limit.Rate) (wait time.Duration, err error) {
	us, err := b.run(ctx, b.take, key, r)
	return time.Duration(us) * time.Microsecond, err
}

// Give implements limit.Counters. Its time is Redis's.
func (b *Budgets) Give(ctx context.Context, _ time.Time, key limit.Key, r limit.Rate) error {
	_, err := b.run(ctx, b.give, key, r)
	return err
}

// Forget implements limit.Store: keys expire by themselves.
func (b *Budgets) Forget(context.Context, int) (int, error) { return 0, nil }

func (b *Budgets) run(ctx context.Context, script *redis.Script, key limit.Key, r limit.Rate) (n int64, err error) {
	conn, err := b.db.pool.GetContext(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	now := ""
	if b.db.now != nil {
		now = strconv.FormatInt(b.db.now().UnixMicro(), 10)
	}
	every := int64((r.Every + time.Microsecond - 1) / time.Microsecond) // rounded up: never wider than it says
	return redis.Int64(script.DoContext(ctx, conn, keyPrefix+hex.EncodeToString(key[:]), every, r.Burst, now))
}
