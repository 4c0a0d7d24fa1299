-- Cron expressions: the moments that five fields name in a time zone.

-- A cron expression, taken apart.
create type koppeling.cron_times as (
    minutes int[],
    hours int[],
    days int[],
    months int[],
    -- 0 is Sunday.
    weekdays int[],
    -- Whether a day counts that fits the day of month or the weekday; else it must fit both.
    either_day boolean,
    -- Whether it runs by elapsed time: every so many minutes or hours, whatever is done to the clock.
    is_elastic boolean
);

-- One number or name of a field; null when it is none.
create function koppeling.cron_number(p_text text, p_low int, p_high int, p_names text[]) returns int
    language sql immutable parallel safe
    return case
        when p_text ~ '^[0-9]{1,2}$' then case when p_text::int between p_low and p_high then p_text::int end
        else array_position(p_names, p_text) - 1 + p_low
    end;

-- The numbers that a field names, in their order.
create function koppeling.cron_field(p_field text, p_name text, p_low int, p_high int, p_names text[]) returns int[]
    language plpgsql immutable parallel safe set search_path = koppeling, pg_temp
as $$
declare
    v_item text;
    v_parts text[];
    v_first int;
    v_last int;
    v_fault text;
    v_numbers int[] := '{}';
begin
    foreach v_item in array string_to_array(p_field, ',') loop
        -- The star, the first, the last, the step.
        v_parts := regexp_match(v_item, '^(?:(\*)|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/([0-9]{1,4}))?$');
        if v_parts[1] is not null then
            v_first := p_low;
            v_last := p_high;
        else
            v_first := koppeling.cron_number(v_parts[2], p_low, p_high, p_names);
            v_last := koppeling.cron_number(coalesce(v_parts[3], v_parts[2]), p_low, p_high, p_names);
            -- As the end of a range Sunday comes after Saturday.
            v_last := case when p_names[1] = 'sun' and v_last = 0 and v_first > 0 then 7 else v_last end;
        end if;
        v_fault := case
            when v_parts is null then 'is not *, a number, a range such as 1-5, or one of these with a step such as */2'
            when v_first is null or v_last is null then format('must be from %s to %s', p_low, p_high)
                || coalesce(format(', or %s to %s', p_names[1], p_names[cardinality(p_names)]), '')
            when v_first > v_last then 'is a range that runs backwards'
            when v_parts[4] is not null and coalesce(v_parts[1], v_parts[3]) is null then
                format('has a step and no range: write %s-%s/%s', v_parts[2], p_high, v_parts[4])
            when v_parts[4]::int not between 1 and p_high then format('must have a step from 1 to %s', p_high)
        end;
        if v_fault is not null then
            raise exception using errcode = '22023', message = format(
                'cron: the %s "%s" %s', p_name, left(v_item, 50), v_fault);
        end if;
        v_numbers := v_numbers || array(select generate_series(v_first, v_last, coalesce(v_parts[4]::int, 1)));
    end loop;
    return array(
        select distinct case when p_names[1] = 'sun' then n % 7 else n end from unnest(v_numbers) n order by 1);
end $$;

-- Takes a cron expression apart, or says what is wrong with it.
create function koppeling.parsed_cron(p_cron text) returns koppeling.cron_times
    language plpgsql immutable parallel safe set search_path = koppeling, pg_temp
as $$
declare
    v_text text := lower(btrim(p_cron, E' \t'));
    v_fields text[];
    v_times koppeling.cron_times;
begin
    v_text := case v_text
        when '@hourly' then '0 * * * *'
        when '@daily' then '0 0 * * *'
        when '@midnight' then '0 0 * * *'
        when '@weekly' then '0 0 * * 0'
        when '@monthly' then '0 0 1 * *'
        when '@yearly' then '0 0 1 1 *'
        when '@annually' then '0 0 1 1 *'
        else v_text
    end;
    v_fields := regexp_split_to_array(v_text, '[ \t]+');
    if v_text is null then
        raise exception using errcode = '22023', message = 'cron: is missing';
    elsif v_text like '@%' then
        raise exception using errcode = '22023', message = format(
            'cron: "%s" is none of @hourly, @daily, @weekly, @monthly, @yearly', left(p_cron, 50));
    elsif cardinality(v_fields) <> 5 then
        raise exception using errcode = '22023', message = format(
            'cron: "%s" must have five fields: minute, hour, day of month, month, day of week', left(p_cron, 100));
    end if;
    v_times.minutes := koppeling.cron_field(v_fields[1], 'minute', 0, 59, null);
    v_times.hours := koppeling.cron_field(v_fields[2], 'hour', 0, 23, null);
    v_times.days := koppeling.cron_field(v_fields[3], 'day of month', 1, 31, null);
    v_times.months := koppeling.cron_field(v_fields[4], 'month', 1, 12,
        '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}');
    v_times.weekdays := koppeling.cron_field(v_fields[5], 'day of week', 0, 7, '{sun,mon,tue,wed,thu,fri,sat}');
    v_times.either_day := v_fields[3] !~ '^\*' and v_fields[5] !~ '^\*';
    v_times.is_elastic := v_fields[1] ~ '^\*' or v_fields[2] ~ '^\*';
    return v_times;
end $$;

-- The first local time that fits, from the given one on; null when none ever does.
create function koppeling.next_local_time(p_times koppeling.cron_times, p_from timestamp) returns timestamp
    language plpgsql immutable parallel safe set search_path = koppeling, pg_temp
as $$
declare
    v_from timestamp := p_from;
    v_month timestamp := date_trunc('month', p_from);
    v_day timestamp;
    v_minute int;
begin
    -- The days of 41 years: a 29th of February falls on each weekday in any 40.
    for n in 0 .. 12 * 41 loop
        if extract(month from v_month)::int = any (p_times.months) then
            for v_day in
                select d.day
                from (select g.day, extract(day from g.day)::int = any (p_times.days) as fits_month,
                        extract(dow from g.day)::int = any (p_times.weekdays) as fits_week
                    from generate_series(greatest(v_month, date_trunc('day', v_from)),
                        v_month + interval '1 month - 1 day', interval '1 day') g (day)) d
                where case when p_times.either_day then d.fits_month or d.fits_week
                    else d.fits_month and d.fits_week end
                order by d.day
            loop
                select min(h * 60 + m) into v_minute
                from unnest(p_times.hours) h, unnest(p_times.minutes) m
                where v_day + make_interval(mins => h * 60 + m) >= v_from;
                if v_minute is not null then
                    return v_day + make_interval(mins => v_minute);
                end if;
            end loop;
        end if;
        v_month := v_month + interval '1 month';
    end loop;
    return null;
end $$;

-- Refuses a time zone that is not the name of a place or UTC. The server would take others for what they are not: CET
-- for a zone without summer time, and "Europe/Amsterdam2" for one that is two hours behind Greenwich.
create function koppeling.check_time_zone(p_zone text) returns void
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
begin
    if p_zone ~* '^(utc|gmt|etc/gmt[+-]?[0-9]{1,2}|[^0-9]+)$' and (p_zone like '%/%' or p_zone ~* '^(utc|gmt)$'
        or not exists (select from pg_timezone_abbrevs a where a.abbrev = upper(p_zone))) then
        perform koppeling.now() at time zone p_zone;
        return;
    end if;
    raise invalid_parameter_value;
exception when invalid_parameter_value then
    raise exception using errcode = '22023', message = format(
        'time_zone: "%s" is not the name of a time zone such as Europe/Amsterdam or UTC', left(p_zone, 50));
end $$;

-- How far the clocks of a zone are ahead of UTC.
create function koppeling.zone_offset(p_zone text, p_at timestamptz) returns interval
    language sql immutable parallel safe
    return (p_at at time zone p_zone) - (p_at at time zone 'UTC');

-- The moment between two, at most a day apart, at which the clocks of a zone were moved; null when they were not.
create function koppeling.zone_change(p_zone text, p_from timestamptz, p_to timestamptz) returns timestamptz
    language sql stable parallel safe
    return case when koppeling.zone_offset(p_zone, p_from) <> koppeling.zone_offset(p_zone, p_to) then (
        select min(m) from generate_series(date_trunc('minute', p_from, 'UTC'), p_to, interval '1 minute') m
        where m > p_from and koppeling.zone_offset(p_zone, m) <> koppeling.zone_offset(p_zone, p_from)) end;

-- When the clocks of a zone show a time: once as a rule, twice when they are put back over it. They never do when they
-- are put forward over it; then the moment of that counts.
create function koppeling.local_moments(
    p_zone text, p_local timestamp, out earlier timestamptz, out later timestamptz, out is_skipped boolean
)
    language plpgsql stable parallel safe set search_path = koppeling, pg_temp
as $$
declare
    v_change timestamptz;
begin
    -- The server takes a time that is shown twice for the later one, and a skipped one for as much after the change.
    later := p_local at time zone p_zone;
    is_skipped := (later at time zone p_zone) <> p_local;
    v_change := koppeling.zone_change(p_zone, later - interval '24 hours', later);
    if is_skipped then
        later := v_change;
    end if;
    earlier := later;
    if v_change is not null and not is_skipped then
        earlier := least(later, later - koppeling.zone_offset(p_zone, later - interval '24 hours')
            + koppeling.zone_offset(p_zone, later));
        if earlier >= v_change then
            earlier := later;
        end if;
    end if;
end $$;

-- The first moment after the given one that a cron expression names in a time zone.
--
-- One that names every minute or hour (the minute or the hour begins with *) runs by what the clocks show: not in a
-- skipped hour, in a repeated one twice. Any other runs once for each local time: for a skipped one at the moment the
-- clocks are put forward, for a repeated one the first time.
create function koppeling.next_tick(
    cron text, time_zone text default 'UTC', after timestamptz default koppeling.now()
) returns timestamptz
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
declare
    v_times koppeling.cron_times := koppeling.parsed_cron(cron);
    v_from timestamp;
    v_change timestamptz;
    v_local timestamp;
    v_moments record;
begin
    perform koppeling.check_time_zone(time_zone);
    if after is null or not isfinite(after) then
        raise exception using errcode = '22023', message = 'after: must be a moment';
    end if;
    v_from := date_trunc('minute', after at time zone time_zone) + interval '1 minute';
    if v_times.is_elastic then
        v_change := koppeling.zone_change(time_zone, after, after + interval '24 hours');
    else
        -- What is shown again has been.
        v_change := koppeling.zone_change(time_zone, after - interval '24 hours', after);
        v_from := greatest(v_from, (v_change at time zone 'UTC')
            + koppeling.zone_offset(time_zone, after - interval '24 hours'));
    end if;
    v_local := koppeling.next_local_time(v_times, v_from);
    if v_times.is_elastic and (v_local at time zone 'UTC') - koppeling.zone_offset(time_zone, after) >= v_change then
        v_local := koppeling.next_local_time(v_times, v_change at time zone time_zone);
    end if;
    loop
        if v_local is null then
            raise exception using errcode = '22023', message = format(
                'cron: "%s" names a day that never comes', left(cron, 100));
        end if;
        v_moments := koppeling.local_moments(time_zone, v_local);
        exit when not (v_times.is_elastic and v_moments.is_skipped);
        v_local := koppeling.next_local_time(v_times, v_moments.later at time zone time_zone);
    end loop;
    return case when v_moments.earlier > after then v_moments.earlier else v_moments.later end;
end $$;

-- The next moments that a cron expression names, at most 1000.
create function koppeling.next_ticks(
    cron text, time_zone text default 'UTC', after timestamptz default koppeling.now(), count int default 10
) returns setof timestamptz
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
begin
    if count is null or count not between 1 and 1000 then
        raise exception using errcode = '22023', message = 'count: must be from 1 to 1000';
    end if;
    for n in 1 .. count loop
        after := koppeling.next_tick(cron, time_zone, after);
        return next after;
    end loop;
end $$;
