import java.sql.*;
import java.util.*;

/**
 * What BI tools on the JVM do with PostgreSQL's JDBC driver: metadata, then queries with cursors and parameters. Prints one line for each
 * thing it saw; run as `java -cp DRIVER Catalogue.java URL USER PASSWORD`.
 */
public class Catalogue {
  public static void main(String[] args) throws SQLException {
    try (Connection connection = DriverManager.getConnection(args[0], args[1], args[2])) {
      connection.setReadOnly(true);
      DatabaseMetaData metadata = connection.getMetaData();
      System.out.println("product " + metadata.getDatabaseProductName());
      rows("schema", metadata.getSchemas(), "TABLE_SCHEM");
      rows("table", metadata.getTables(null, null, "%", new String[] {"TABLE", "VIEW"}), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE", "REMARKS");
      rows("column", metadata.getColumns(null, "gold", "daily", "%"), "COLUMN_NAME", "TYPE_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS", "IS_NULLABLE", "REMARKS");
      rows("key", metadata.getPrimaryKeys(null, "gold", "daily"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME");
      rows("index", metadata.getIndexInfo(null, "gold", "daily", false, true), "INDEX_NAME", "COLUMN_NAME", "NON_UNIQUE");
      rows("imported key", metadata.getImportedKeys(null, "gold", "daily"), "FKTABLE_NAME");
      rows("type", metadata.getTypeInfo(), "TYPE_NAME");
      rows("privilege", metadata.getTablePrivileges(null, "gold", "daily"), "GRANTEE", "PRIVILEGE");
      rows("function", metadata.getFunctions(null, "gold", "%"), "FUNCTION_NAME");
      connection.setAutoCommit(false);
      try (PreparedStatement statement = connection.prepareStatement("select day, country, orders, revenue from daily where revenue > ? order by day")) {
        statement.setFetchSize(1);
        statement.setBigDecimal(1, new java.math.BigDecimal("0.5"));
        try (ResultSet result = statement.executeQuery()) {
          ResultSetMetaData columns = result.getMetaData();
          for (int i = 1; i <= columns.getColumnCount(); i++) System.out.println("result " + columns.getColumnName(i) + " " + columns.getColumnClassName(i));
          while (result.next()) System.out.println("row " + result.getDate(1) + " " + result.getString(2) + " " + result.getLong(3) + " " + result.getBigDecimal(4));
        }
      }
      try (Statement statement = connection.createStatement()) {
        statement.executeUpdate("delete from gold.daily");
        System.out.println("deleted");
      } catch (SQLException refused) {
        System.out.println("refused " + refused.getSQLState());
      }
    }
  }

  static void rows(String what, ResultSet result, String... columns) throws SQLException {
    try (result) {
      while (result.next()) {
        List<String> values = new ArrayList<>();
        for (String column : columns) values.add(result.getString(column));
        System.out.println(what + " " + String.join(" | ", values.stream().map(String::valueOf).toList()));
      }
    }
  }
}
