/**
 * What BI tools ask PostgreSQL's catalogue before they show a table, in the form in which they or their drivers send it: Metabase through
 * JDBC's metadata and queries of its own, Tableau and Looker Studio through JDBC and ODBC, Power BI through Npgsql.
 */
export interface CatalogueQuery {
  readonly tool: string;
  readonly what: string;
  readonly sql: string;
  /** In the answer's JSON. */
  readonly finds: RegExp;
}

export const CATALOGUE_QUERIES: readonly CatalogueQuery[] = [
  {
    tool: "Power BI",
    what: "the list of tables",
    sql: `select TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE from INFORMATION_SCHEMA.tables
      where TABLE_SCHEMA not in ('information_schema', 'pg_catalog') order by TABLE_SCHEMA, TABLE_NAME`,
    finds: /"table_schema":"gold","table_name":"daily","table_type":"BASE TABLE"/,
  },
  {
    tool: "Power BI",
    what: "the columns of a table",
    sql: `select COLUMN_NAME, ORDINAL_POSITION, IS_NULLABLE, case when (data_type like '%unsigned%') then DATA_TYPE || ' unsigned' else DATA_TYPE end as DATA_TYPE
      from INFORMATION_SCHEMA.columns where TABLE_SCHEMA = 'gold' and TABLE_NAME = 'daily' order by TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION`,
    finds: /"column_name":"revenue","ordinal_position":4,"is_nullable":"YES","data_type":"numeric"/,
  },
  {
    tool: "Power BI",
    what: "foreign keys that lead to a table",
    sql: `select pkcol.COLUMN_NAME as PK_COLUMN_NAME, fkcol.TABLE_SCHEMA as FK_TABLE_SCHEMA, fkcol.TABLE_NAME as FK_TABLE_NAME,
        fkcol.COLUMN_NAME as FK_COLUMN_NAME, fkcol.ORDINAL_POSITION as ORDINAL
      from (select distinct constraint_catalog, constraint_schema, unique_constraint_schema, constraint_name, unique_constraint_name
        from INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS) fkcon
      inner join INFORMATION_SCHEMA.KEY_COLUMN_USAGE fkcol on fkcon.CONSTRAINT_SCHEMA = fkcol.CONSTRAINT_SCHEMA and fkcon.CONSTRAINT_NAME = fkcol.CONSTRAINT_NAME
      inner join INFORMATION_SCHEMA.KEY_COLUMN_USAGE pkcol on fkcon.UNIQUE_CONSTRAINT_SCHEMA = pkcol.CONSTRAINT_SCHEMA and fkcon.UNIQUE_CONSTRAINT_NAME = pkcol.CONSTRAINT_NAME
      where pkcol.TABLE_SCHEMA = 'gold' and pkcol.TABLE_NAME = 'daily' and pkcol.ORDINAL_POSITION = fkcol.ORDINAL_POSITION`,
    finds: /^\[\]$/,
  },
  {
    tool: "Power BI",
    what: "types, as Npgsql loads them",
    sql: `select ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid from (
        select typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typrelid, typ.typnotnull, typ.relkind, elemtyp.oid as elemtypoid
        from (select typ.oid, typnamespace, typname, typrelid, typnotnull, relkind, typelem as elemoid,
            case when proc.proname = 'array_recv' then 'a' else typ.typtype end as typtype
          from pg_type as typ left join pg_class as cls on (cls.oid = typ.typrelid) left join pg_proc as proc on proc.oid = typ.typreceive
            left join pg_range on (pg_range.rngtypid = typ.oid)) as typ
        left join pg_type as elemtyp on elemtyp.oid = elemoid) as t
      join pg_namespace as ns on (ns.oid = typnamespace) where typtype in ('b', 'r', 'm', 'e', 'd') and t.typname = 'numeric'`,
    finds: /"typname":"numeric"/,
  },
  {
    tool: "Metabase",
    what: "tables it may read, with their rights",
    sql: `with table_privileges as (
        select null as role, t.schemaname as schema, t.objectname as table,
          pg_catalog.has_any_column_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'update') as update,
          pg_catalog.has_any_column_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'select') as select
        from (select schemaname, tablename as objectname from pg_catalog.pg_tables union select schemaname, viewname as objectname from pg_catalog.pg_views) t
        where t.schemaname !~ '^pg_' and t.schemaname <> 'information_schema' and pg_catalog.has_schema_privilege(current_user, t.schemaname, 'usage'))
      select t.* from table_privileges t where t.select`,
    finds: /"schema":"gold","table":"daily","update":false,"select":true/,
  },
  {
    tool: "Metabase",
    what: "tables with their comments and row counts",
    sql: `select n.nspname as "schema", c.relname as "name", case c.relkind when 'r' then 'TABLE' when 'v' then 'VIEW' else 'OTHER' end as "type",
        d.description as "description", stat.n_live_tup as "estimated-row-count"
      from pg_catalog.pg_class as c inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
      left join pg_catalog.pg_description as d on c.oid = d.objoid and d.objsubid = 0 and d.classoid = 'pg_class'::regclass
      left join pg_stat_user_tables as stat on n.nspname = stat.schemaname and c.relname = stat.relname
      where c.relnamespace = n.oid and n.nspname !~ '^information_schema|catalog_history|pg_' and c.relkind in ('r', 'p', 'v', 'f', 'm') and n.nspname in ('gold')`,
    finds: /"name":"daily","type":"TABLE","description":"Sales by day, in the shop's words"/,
  },
  {
    tool: "Metabase",
    what: "columns with keys and comments",
    sql: `select c.column_name as name, case when c.udt_schema in ('public', 'pg_catalog') then format('%s', c.udt_name) else format('"%s"."%s"', c.udt_schema, c.udt_name) end as "database-type",
        c.ordinal_position - 1 as "database-position", c.table_schema as "table-schema", c.table_name as "table-name", pk.column_name is not null as "pk?",
        col_description(cast(cast(format('%I.%I', cast(c.table_schema as text), cast(c.table_name as text)) as regclass) as oid), c.ordinal_position) as "field-comment",
        (column_default is null or lower(column_default) = 'null') and is_nullable = 'NO' and not (column_default is not null and column_default like '%nextval(%') and is_identity = 'NO' as "database-required"
      from information_schema.columns as c left join (
        select tc.table_schema, tc.table_name, kc.column_name from information_schema.table_constraints as tc
        inner join information_schema.key_column_usage as kc on tc.constraint_name = kc.constraint_name and tc.table_schema = kc.table_schema and tc.table_name = kc.table_name
        where tc.constraint_type = 'PRIMARY KEY') as pk on c.table_schema = pk.table_schema and c.table_name = pk.table_name and c.column_name = pk.column_name
      where c.table_schema !~ '^information_schema|catalog_history|pg_' and c.table_schema in ('gold') order by "table-schema", "table-name", "database-position"`,
    finds: /"name":"revenue","database-type":"numeric".*"field-comment":"In EUR, without tax"/,
  },
  {
    tool: "Tableau",
    what: "tables, as the JDBC driver asks",
    sql: `select current_database() as TABLE_CAT, n.nspname as TABLE_SCHEM, c.relname as TABLE_NAME,
        case n.nspname ~ '^pg_' or n.nspname = 'information_schema' when true then 'SYSTEM TABLE' else case c.relkind when 'r' then 'TABLE' when 'v' then 'VIEW' else null end end as TABLE_TYPE,
        d.description as REMARKS
      from pg_catalog.pg_namespace n, pg_catalog.pg_class c
      left join pg_catalog.pg_description d on (c.oid = d.objoid and d.objsubid = 0 and d.classoid = 'pg_class'::regclass)
      where c.relnamespace = n.oid and has_table_privilege(c.oid, 'select') and c.relkind in ('r', 'v', 'm', 'f', 'p')
        and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by TABLE_TYPE, TABLE_SCHEM, TABLE_NAME`,
    finds: /"table_schem":"gold","table_name":"daily","table_type":"TABLE"/,
  },
  {
    tool: "Tableau",
    what: "primary keys, as the JDBC driver asks",
    sql: `select result.TABLE_CAT, result.TABLE_SCHEM, result.TABLE_NAME, result.COLUMN_NAME, result.KEY_SEQ, result.PK_NAME from (
        select current_database() as TABLE_CAT, n.nspname as TABLE_SCHEM, ct.relname as TABLE_NAME, a.attname as COLUMN_NAME,
          (information_schema._pg_expandarray(i.indkey)).n as KEY_SEQ, ci.relname as PK_NAME,
          information_schema._pg_expandarray(i.indkey) as KEYS, a.attnum as A_ATTNUM
        from pg_catalog.pg_class ct join pg_catalog.pg_attribute a on (ct.oid = a.attrelid)
          join pg_catalog.pg_namespace n on (ct.relnamespace = n.oid) join pg_catalog.pg_index i on (a.attrelid = i.indrelid)
          join pg_catalog.pg_class ci on (ci.oid = i.indexrelid)
        where true and n.nspname = 'gold' and ct.relname = 'daily' and i.indisprimary) result
      where result.A_ATTNUM = (result.KEYS).x order by result.table_name, result.pk_name, result.key_seq`,
    finds: /"column_name":"day","key_seq":1.*"column_name":"country","key_seq":2/,
  },
  {
    tool: "Looker Studio",
    what: "tables and views",
    sql: `select table_name from information_schema.tables where table_schema not in ('pg_catalog', 'information_schema') and table_type in ('BASE TABLE', 'VIEW') order by table_name`,
    finds: /"table_name":"daily"/,
  },
  {
    tool: "psql",
    what: "\\dt of everything it sees",
    sql: `select n.nspname as "Schema", c.relname as "Name", pg_catalog.pg_get_userbyid(c.relowner) as "Owner" from pg_catalog.pg_class c
      left join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', '') and n.nspname <> 'pg_catalog'
      and n.nspname !~ '^pg_toast' and n.nspname <> 'information_schema' and pg_catalog.pg_table_is_visible(c.oid) order by 1, 2`,
    finds: /"Schema":"gold","Name":"daily"/,
  },
];
