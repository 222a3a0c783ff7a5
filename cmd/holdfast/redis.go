package main

import (
	"context"
	"errors"
	"time"

	"holdfast.example/internal/server"
	"holdfast.example/internal/store/redis"
)

// redisWait is how long a start waits to hear whether Redis answers.
const redisWait = time.Second

// besideRedis is a database with a Redis beside it that counts attempts.
type besideRedis struct {
	database
	redis    *redis.DB
	warnings []string
}

// Warnings implements database.
func (b *besideRedis) Warnings() []string { return append(b.warnings, b.database.Warnings()...) }

// Close implements database.
func (b *besideRedis) Close() error { return errors.Join(b.redis.Close(), b.database.Close()) }

// useRedis lets the Redis that the configuration names count attempts. One that
// does not answer is worth a word and stops no start: it holds nothing that a
// server needs.
func (o *opened) useRedis(ctx context.Context, c server.Config, now func() time.Time) error {
	if c.Redis.Empty() {
		return nil
	}
	options := redis.Options{}
	if c.Dev() { // its clock can be moved
		options.Now = now
	}
	r, err := redis.Open(c.Redis, options)
	if err != nil {
		return err
	}
	b := &besideRedis{database: o.database, redis: r}
	ctx, cancel := context.WithTimeout(ctx, redisWait)
	defer cancel()
	if err := r.Ping(ctx); err != nil {
		b.warnings = []string{"Redis does not answer; until it does, each node counts attempts by itself: " + err.Error()}
	}
	o.database, o.stores.Budgets = b, r.Budgets()
	return nil
}
