import IO
import Logging
import Postgres

/// What the jobs of the fault test write, and what must be true of it in the end.
struct Ledger: Sendable {
    /// How many jobs are enqueued in one transaction.
    static let batch = 200

    /// How many of the jobs with the limit key may run at once.
    static let limit = 10

    let pool: Pool

    func make() async throws {
        try await pool.script(
            """
            create schema chaos;
            -- What was enqueued: written in the transaction that enqueued it.
            create table chaos.batch (number int primary key);
            create table chaos.expected (job_id bigint primary key, kind text not null, order_key text);
            -- What was run.
            create table chaos.ledger (entry bigint generated always as identity primary key, job_id bigint not null,
                claim int not null, worker text not null, at timestamptz not null default clock_timestamp());
            insert into koppeling.job_kind (kind, retry_base, retry_cap)
            values ('chaos.within', '200 milliseconds', '2 seconds'), ('chaos.apart', '200 milliseconds', '2 seconds');
            """)
        try await pool.query("select koppeling.set_limit('chaos', concurrency => \(Int32(Self.limit))::int)")
    }

    /// Enqueues one batch of the jobs, unless it was enqueued before: the answer of a commit can be lost.
    ///
    /// A tenth of the jobs have order keys, about ten jobs a key; a twentieth have one limit key.
    func enqueue(batch number: Int, of jobs: Int) async throws {
        let first = Int32(number * Self.batch)
        let last = Int32(min(jobs, (number + 1) * Self.batch) - 1)
        try await pool.transaction { connection in
            let isNew = try await connection.execute(
                "insert into chaos.batch (number) values (\(Int32(number))::int) on conflict do nothing")
            guard isNew == 1 else { return }
            try await connection.execute(
                """
                with spec as materialized (
                    select g.n, case when g.n % 2 = 0 then 'chaos.within' else 'chaos.apart' end as kind,
                        case when g.n % 10 = 0 then 'o' || g.n / 10 % (\(Int32(max(1, jobs / 100)))::int) end as order_key,
                        case when g.n % 20 = 1 then 'chaos' end as limit_key
                    from generate_series(\(first)::int, \(last)::int) g (n)
                ), enqueued as materialized (
                    select koppeling.enqueue_internal_many((
                        select jsonb_agg(jsonb_build_object('kind', s.kind, 'order_key', s.order_key, 'limit_key',
                            s.limit_key, 'priority', s.n % 3 - 1, 'max_attempts', 1000) order by s.n) from spec s)) as ids
                )
                insert into chaos.expected (job_id, kind, order_key)
                select u.id, s.kind, s.order_key
                from enqueued e
                cross join unnest(e.ids) with ordinality u (id, place)
                join (select *, row_number() over (order by n) as place from spec) s on s.place = u.place
                """)
        }
    }

    /// How many jobs are not finished.
    func left() async throws -> Int64 {
        try await pool.query("select count(*) from koppeling.job").scalar()
    }

    func runningUnderLimit() async throws -> Int {
        let count = try await pool.query(
            "select count(*) from koppeling.job where limit_key = 'chaos' and state = 'running'"
        ).scalar(as: Int64.self)
        return Int(count)
    }

    /// What the queue's own checks find wrong.
    func violations() async throws -> [String] {
        let hasChecks = try await pool.query("select to_regproc('koppeling.check_queue') is not null").scalar(
            as: Bool.self)
        guard hasChecks else { return [] }
        let rows = try await pool.query(
            """
            select invariant || ': ' || violations || ', such as ' || coalesce(example::text, '?') as line
            from koppeling.check_queue() where violations > 0
            """)
        return try rows.map { try $0.decode("line") }
    }

    /// What must be zero, and what is told beside it.
    func findings() async throws -> [Finding] {
        let rows = try await pool.query(
            """
            with entry as materialized (
                select l.*, e.kind, e.order_key, e.job_id is null as is_foreign
                from chaos.ledger l left join chaos.expected e on e.job_id = l.job_id
            ), repeated as materialized (
                select job_id, min(kind) as kind from entry group by job_id having count(*) > 1
            )
            select 'jobs enqueued' as name, false as is_fault, (select count(*) from chaos.expected) as count
            union all select 'jobs done', false, (select count(*) from koppeling.job_history where outcome = 'done')
            union all select 'entries in the ledger', false, (select count(*) from entry)
            union all select 'jobs run again after their run was cut off', false, (select count(*) from repeated)
            union all select 'attempts cut off by death', false,
                (select count(*) from koppeling.job_attempt where outcome = 'died')
            union all select 'attempts given back', false,
                (select count(*) from koppeling.job_attempt where outcome = 'released')
            union all select 'attempts that failed', false,
                (select count(*) from koppeling.job_attempt where outcome = 'retried')
            union all select 'lost: enqueued, but not in the ledger', true,
                (select count(*) from chaos.expected e
                 where not exists (select from chaos.ledger l where l.job_id = e.job_id))
            union all select 'vanished: enqueued, but neither waiting nor in the history', true,
                (select count(*) from chaos.expected e
                 where not exists (select from koppeling.job j where j.id = e.job_id)
                    and not exists (select from koppeling.job_history h where h.id = e.job_id))
            union all select 'stuck: not finished', true, (select count(*) from koppeling.job)
            union all select 'finished, but not as done', true,
                (select count(*) from koppeling.job_history where outcome <> 'done')
            union all select 'in the ledger, but their enqueueing was rolled back', true,
                (select count(*) from entry where is_foreign)
            union all select 'twice in the ledger by one transaction with the completion', true,
                (select count(*) from repeated where kind = 'chaos.within')
            union all select 'twice in the ledger by one claim', true,
                (select count(*) from (select from entry group by job_id, claim having count(*) > 1) t)
            union all select 'entries of runs that the history does not know', true,
                (select count(*) from entry l
                 where not exists (select from koppeling.job_history h where h.id = l.job_id and h.claim = l.claim)
                    and not exists (
                        select from koppeling.job_attempt a where a.job_id = l.job_id and a.claim = l.claim))
            union all select 'entries out of the order of their key', true,
                (select count(*) from (select job_id < lag(job_id) over (partition by order_key order by entry) as late
                                       from entry where order_key is not null) o where late)
            """)
        var findings: [Finding] = []
        for row in rows {
            findings.append(
                Finding(
                    name: try row.decode("name"), isFault: try row.decode("is_fault"), count: try row.decode("count")))
        }
        return findings
    }

    /// A figure of the end: a fault is to be zero.
    struct Finding: Sendable {
        var name: String
        var isFault: Bool
        var count: Int64
    }
}
